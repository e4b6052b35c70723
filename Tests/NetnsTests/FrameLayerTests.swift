// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// The MAC layers of a bridge, with real frames of a veth interface.
  @Suite struct FrameLayers {
    private static let frameLayers: [Layer] = [
      .inboundMACFrameNative, .inboundMACFrameEthernet, .outboundMACFrameEthernet,
      .outboundMACFrameNative,
    ]

    @Test func `frames of both directions are met at both layers, in their order, and go on`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let met = Shared<[Layer]>([])
        let bridge = frameBridge()
        try await running(
          bridge,
          framePolicy(Self.frameLayers, conditions: [Condition(.etherType, .equal(0x0800))]) {
            frame, _ in
            met.change { $0.append(frame.layer) }
          }
        ) {
          try Shell.run("ip netns exec p1 ping -c 1 -W 5 10.9.1.1")
          #expect(met.value == Self.frameLayers)
          let statistics = try await bridge.statistics()
          #expect(statistics.frames.permitted == 2)
          #expect(statistics.ports.count == 2)
        }
        #expect(try Shell.run("ip -o link").contains("co") == false)
      }
    }

    @Test func `a broadcast that is blocked reaches nobody, this host included`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let receiver = Receiver()
        let blocked = Shared(0)
        let bridge = frameBridge()
        let isBroadcast = Condition(.macLocalAddressType, .equal(2))
        try await running(
          bridge,
          framePolicy([.inboundMACFrameEthernet], conditions: [isBroadcast]) { frame, out in
            guard frame.sequence != nil else { return }
            blocked.change { $0 += 1 }
            out.block()
          }
        ) {
          try Shell.run(
            "printf 12345678abcd | ip netns exec p1 socat -u STDIN UDP:10.9.1.255:7,broadcast")
          try await expectSoon { blocked.value == 1 }
          // The one after it arrives.
          Sender(in: "p1", to: "10.9.1.1").send(2)
          try await expectSoon { receiver.count == 1 }
          #expect(receiver.contents.sequences == [2])
        }
      }
    }

    @Test(arguments: [1, 2] as [UInt16])
    func `a tag from MAC inbound is found at IP inbound and transport`(queues: UInt16)
      async throws
    {
      try await withTopology { _ in
        let receiver = Receiver()
        let found = Shared<[Layer: [UInt64]]>([:])
        let log = EventLog()
        let bridge = frameBridge {
          $0.lifecycle = .automatic
          $0.queueCount = queues
        }
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          framePolicy(
            [.inboundMACFrameEthernet, .inboundIPPacketV4, .inboundTransportV4], tags: [tag],
            packets: { packet, out in
              guard let context = try? out.retrieve(tag) else { return }
              found.change { $0[packet.layer, default: []].append(context) }
            }
          ) { frame, out in
            guard let sequence = frame.sequence else { return }
            try? out.associate(sequence, with: tag, notify: notify)
          }
        ) {
          for sequence: UInt64 in 1...8 {
            Sender(in: "p1", to: "10.9.1.1", from: 4000 + UInt16(sequence)).send(sequence)
          }
          try await expectSoon { receiver.count == 8 && log.reasons().count == 8 }
          #expect(found.value[.inboundIPPacketV4]?.sorted() == Array(1...8))
          #expect(found.value[.inboundTransportV4]?.sorted() == Array(1...8))
          #expect(log.reasons() == Array(repeating: .delivered, count: 8))
        }
      }
    }

    @Test(arguments: [1, 2] as [UInt16])
    func `a tag from outbound transport is found at MAC outbound`(queues: UInt16) async throws {
      try await withTopology { _ in
        let receiver = Receiver(in: "p1")
        let found = Shared<[UInt64]>([])
        let log = EventLog()
        let bridge = frameBridge {
          $0.lifecycle = .automatic
          $0.queueCount = queues
        }
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          framePolicy(
            [.outboundTransportV4, .outboundMACFrameEthernet], tags: [tag],
            packets: { packet, out in
              try? out.associate(packet.sequence, with: tag, notify: notify)
            }
          ) { frame, out in
            guard let context = try? out.retrieve(tag) else { return }
            found.change { $0.append(context) }
          }
        ) {
          for sequence: UInt64 in 1...8 {
            Sender(to: "10.9.1.2", from: 4000 + UInt16(sequence)).send(sequence)
          }
          try await expectSoon { receiver.count == 8 && log.reasons().count == 8 }
          #expect(found.value.sorted() == Array(1...8))
          #expect(log.reasons() == Array(repeating: .transmitted, count: 8))
        }
      }
    }

    @Test func `F11: what a frame bears that never enters the IP stack stays until it is removed`()
      async throws
    {
      try await withTopology { _ in
        let bridge = frameBridge {
          $0.lifecycle = .automatic
          $0.sweepAfter = .milliseconds(100)
        }
        let tag = bridge.makeTag(named: "arp")
        try await running(
          bridge,
          framePolicy(
            [.inboundMACFrameEthernet], tags: [tag],
            conditions: [Condition(.etherType, .equal(0x0806))]
          ) { _, out in
            try? out.associate(1, with: tag)
          }
        ) {
          try Shell.run(
            "ip -n p1 neigh del 10.9.1.1 dev b1; ip netns exec p1 ping -c 1 -W 5 10.9.1.1")
          try await expectSoon { try await bridge.statistics().tagging.live > 0 }
          let live = try await bridge.statistics().tagging.live
          // Longer than anything else would be swept.
          try await Task.sleep(for: .milliseconds(400))
          #expect(try await bridge.statistics().tagging.live >= live)
          #expect(bridge.removeAll(tag) >= Int(live))
          #expect(try await bridge.statistics().tagging.live == 0)
        }
      }
    }

    @Test func `what is borne by frames that never enter the IP stack leaves room for packets`()
      async throws
    {
      try await withTopology { _ in
        let bridge = frameBridge {
          $0.maximumHandles = 64
          $0.sweepAfter = .milliseconds(100)
        }
        let tag = bridge.makeTag(named: "t")
        let tagged = Shared(0)
        let policy = framePolicy(
          [.inboundMACFrameEthernet, .outboundTransportV4], tags: [tag],
          conditions: [Condition(.etherType, .equal(0x88b5))],
          packets: { _, out in
            if (try? out.associate(2, with: tag)) != nil { tagged.change { $0 += 1 } }
          }
        ) { _, out in
          try? out.associate(1, with: tag)
        }
        try await running(bridge, policy) {
          let peer = FrameTap(in: "p1", "b1")
          defer { peer.close() }
          let frame = Ends.host + Ends.peer + [0x88, 0xb5] + [UInt8](repeating: 0, count: 46)
          for _ in 0..<200 { peer.send(frame) }
          try await expectSoon { try await bridge.statistics().frames.frames >= 200 }
          // So long that what is not kept has been swept.
          try await expectSoon {
            Sender(to: "10.9.1.2").send(1)
            return tagged.value > 0
          }
        }
      }
    }

    @Test func `a MAC header is rewritten, with a tag pushed`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let tap = FrameTap(in: "p1", "b1", seeing: FrameTap.all)
        defer { tap.close() }
        let bridge = frameBridge()
        try await running(
          bridge,
          framePolicy([.outboundMACFrameEthernet]) { frame, out in
            guard frame.sequence != nil else { return }
            try? out.rewrite(frame) { edit throws(FrameRewriteError) in
              try edit.pushTag(VLANTag(rawValue: 0x8100_0005))
            }
          }
        ) {
          Sender(to: "10.9.1.2").send(3)
          try await expectSoon { tap.count == 1 }
          #expect(Array(tap.seen[0].bytes[12..<18]) == [0x81, 0, 0, 5, 8, 0])
          #expect(try await bridge.statistics().frames.rewritten == 1)
        }
      }
    }

    @Test func `a frame that is held goes on when its time has come`() async throws {
      try await withTopology { _ in
        let receiver = Receiver()
        let bridge = frameBridge()
        try await running(
          bridge,
          framePolicy([.inboundMACFrameEthernet]) { frame, out in
            guard frame.sequence == 1 else { return }
            out.hold(for: .milliseconds(200), thenPermit: true)
          }
        ) {
          let sender = Sender(in: "p1", to: "10.9.1.1")
          sender.send(1)
          sender.send(2)
          try await expectSoon { receiver.count == 2 }
          #expect(receiver.contents.sequences == [2, 1])
        }
      }
    }

    @Test(.enabled(if: slowness == 1, "an emulated machine cannot drain within a second"))
    func `filters come and go under load, and no datagram is lost or doubled`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let (inbound, outbound) = (Receiver(), Receiver(in: "p1"))
        let bridge = frameBridge()
        let none = framePolicy([]) { _, _ in }
        let all = framePolicy(Self.frameLayers) { _, _ in }
        // Without TCX the first of them brings a discipline, and frames are lost when that comes.
        try await running(bridge, all) {
          try await bridge.apply(none)
          let isOver = Shared(false)
          let counts = Shared<[Int]>([])
          let senders = [Sender(in: "p1", to: "10.9.1.1"), Sender(to: "10.9.1.2")].map { sender in
            Background {
              var sent = 0
              while !isOver.value {
                sender.send(UInt64(sent))
                sent += 1
                usleep(50)
              }
              counts.change { $0.append(sent) }
            }
          }
          for _ in 0..<20 {
            try await bridge.apply(all)
            try await bridge.apply(none)
          }
          isOver.change { $0 = true }
          for sender in senders { sender.join() }
          let sent = counts.value.reduce(0, +)
          try await expectSoon { inbound.count + outbound.count >= sent }
          #expect(inbound.count + outbound.count == sent)
          #expect(inbound.contents.late == 0)
          #expect(outbound.contents.late == 0)
          let statistics = try await bridge.statistics()
          #expect(statistics.frames.frames > 0)
          #expect(statistics.ports.allSatisfy { !$0.isAttached })
        }
      }
    }

    @Test func `an interface that is not there, and a mark that is off, are typed errors`()
      async throws
    {
      try await withTopology { _ in
        let policy = framePolicy([.inboundMACFrameEthernet]) { _, _ in }
        await #expect { try await frameBridge { $0.interfaces = ["no0"] }.start(policy) } throws: {
          if case BridgeError.noInterface("no0") = $0 { true } else { false }
        }
        await #expect { try await frameBridge { $0.mark = .off }.start(policy) } throws: {
          if case BridgeError.framesNeedMark = $0 { true } else { false }
        }
        await #expect { try await frameBridge { $0.interfaces = ["lo"] }.start(policy) } throws: {
          if case BridgeError.divert(.loopback) = $0 { true } else { false }
        }
      }
    }
  }
}

/// A bridge that sees the frames of the first link.
private func frameBridge(_ change: (inout BridgeConfiguration) -> Void = { _ in }) -> Bridge {
  makeBridge {
    $0.interfaces = ["a1"]
    change(&$0)
  }
}
