// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

extension NetnsTests {
  /// What people use packet tagging for, with the kernel's own events.
  @Suite struct UseCases {
    @Test func `Use case 1: a packet marked at one layer is recognised at another, both ways`()
      async throws
    {
      try await withTopology { _ in
        let found = Shared<[UInt64]>([])
        let receiver = Receiver()
        _ = try await lives(
          at: [.inboundIPPacketV4, .inboundTransportV4],
          classify: note(found, at: .inboundTransportV4)
        ) {
          Sender(in: "p1", to: "10.9.1.1").send(3)
          try await expectSoon { receiver.count == 1 }
        }
        _ = try await lives(
          at: [.outboundTransportV4, .outboundIPPacketV4],
          classify: note(found, at: .outboundIPPacketV4)
        ) {
          Sender(to: "10.9.1.2").send(4)
        }
        #expect(found.value == [3, 4])
      }
    }

    @Test func `Use case 2: the time that each packet takes between layers`() async throws {
      try await withTopology { _ in
        let receiver = Receiver()
        let lives = try await lives(
          at: [.inboundIPPacketV4, .inboundTransportV4], count: 20,
          classify: { packet, out, _ in
            if packet.layer == .inboundTransportV4 {
              out.hold(for: .milliseconds(20), thenPermit: true)
            }
          }
        ) {
          Sender(in: "p1", to: "10.9.1.1").send(count: 20)
          try await expectSoon { receiver.count == 20 }
        }
        for context in 0..<UInt64(20) {
          let events = lives.events.filter { $0.context == context }
          let entered = try #require(events.first { $0.kind == .enteredNetIO }).time
          let exit = try #require(events.first { $0.kind == .exitNetIO }).time
          let received = try #require(events.first { $0.kind == .receiveComplete }).time
          #expect(exit - entered >= 20_000_000)
          #expect(exit <= received)
        }
      }
    }

    @Test func `Use case 3: each packet ends once, with what became of it`() async throws {
      try await withTopology { _ in
        try Shell.run(
          "iptables -A OUTPUT -p udp --dport 7 -m statistic --mode nth --every 4 --packet 0 -j DROP"
        )
        let receiver = Receiver(in: "p1")
        let lives = try await lives(at: [.outboundTransportV4], count: 100) {
          Sender(to: "10.9.1.2").send(count: 100)
        }
        #expect(Set(lives.ends.map(\.context)).count == 100)
        #expect(lives.ends.filter { $0.reason == .dropped }.count == 25)
        #expect(lives.ends.filter { $0.reason == .transmitted }.count == 75)
        try await expectSoon { receiver.count == 75 }
      }
    }

    @Test func `Use case 4: what was inspected at one layer is let through at the next`()
      async throws
    {
      try await withTopology { _ in
        let inspections = Shared(0)
        _ = try await lives(
          at: [.outboundTransportV4, .outboundIPPacketV4], count: 5,
          classify: { packet, out, tag in
            let isKnown = packet.layer == .outboundIPPacketV4 && (try? out.retrieve(tag)) != nil
            if !isKnown { inspections.change { $0 += 1 } }
          }
        ) {
          Sender(to: "10.9.1.2").send(count: 5)
        }
        #expect(inspections.value == 5)
      }
    }

    @Test func `Use case 5: a context goes on with the clone that replaces its packet`()
      async throws
    {
      try await withTopology { _ in
        let receiver = Receiver(in: "p1")
        let lives = try await lives(
          at: [.outboundTransportV4], count: 2,
          classify: { packet, out, tag in
            guard !packet.metadata.isInjected, var clone = try? out.clone(packet) else { return }
            try? out.move(tag, to: &clone)
            try? clone.injectSend()
            out.absorb()
          }
        ) {
          Sender(to: "10.9.1.2").send(8)
          try await expectSoon { receiver.count == 1 }
        }
        #expect(Set(lives.ends.map(\.reason)) == [.movedToClone, .transmitted])
      }
    }

    @Test func `Use case 6: a context is copied, and both packets are followed`() async throws {
      try await withTopology { _ in
        try Shell.run("iptables -A OUTPUT -p udp --dport 7 -m ttl --ttl-eq 33 -j DROP")
        let lives = try await lives(
          at: [.outboundTransportV4], count: 2,
          classify: { packet, out, tag in
            guard !packet.metadata.isInjected, var clone = try? out.clone(packet) else { return }
            try? out.copy(tag, to: &clone)
            clone.bytes[8] = 33
            try? clone.injectSend()
          }
        ) {
          Sender(to: "10.9.1.2").send(8)
        }
        #expect(Set(lives.ends.map(\.reason)) == [.transmitted, .dropped])
      }
    }

    @Test func `Use case 7: fragments are followed into the packet that they make`() async throws {
      try await withTopology { _ in
        let receiver = Receiver()
        let lives = try await lives(
          at: [.inboundIPPacketV4], count: 4, context: { UInt64($0.layout.fragmentOffset) }
        ) {
          FragmentSender(in: "p1").send([2, 0, 3, 1])
          try await expectSoon { receiver.count == 1 }
        }
        // No layer of ours met the whole: the kernel told of it.
        #expect(lives.ends.filter { $0.reason == .delivered }.map(\.context) == [0])
        #expect(lives.ends.filter { $0.reason == .reassembled }.count == 3)
      }
    }

    @Test func `Use case 8: tagging is given up, of one packet and of all`() async throws {
      try await withTopology { _ in
        let held = HeldPackets()
        let bridge = makeBridge { $0.lifecycle = .automatic }
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          policy([.outboundTransportV4], tags: [tag], pended: { held.keep($0) }) { packet, out in
            try? out.associate(packet.sequence, with: tag, notify: notify)
            if packet.sequence == 0 { try? out.remove(tag) }
            out.pend(deadline: .seconds(60))
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2", hasRoom: true).send(count: 50)
          try await expectSoon { held.count == 50 }
          #expect(bridge.removeAll(tag) == 49)
          held.permitAll()
          try await expectSoon { receiver.count == 50 }
          try await expectSoon { log.reasons().count == 50 }
        }
        #expect(log.reasons().allSatisfy { $0 == .removedByCaller })
      }
    }

    private func note(_ found: Shared<[UInt64]>, at layer: Layer) -> TaggedBody {
      { packet, out, tag in
        guard packet.layer == layer, let context = try? out.retrieve(tag) else { return }
        found.change { $0.append(context) }
      }
    }
  }
}
