// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

extension NetnsTests {
  /// Packets that wait for a decision which comes later, or never.
  @Suite struct Pending {
    enum Fate: String, CaseIterable { case permitted, blocked, forgotten, expired, stopped }

    @Test(arguments: Fate.allCases, FailurePolicy.allCases)
    func `A pended packet is decided once`(_ fate: Fate, _ failure: FailurePolicy) async throws {
      try await withTopology { _ in
        let held = HeldPackets()
        let bridge = makeBridge {
          $0.failurePolicy = failure
          $0.pendDeadline = fate == .expired ? .milliseconds(100) : .seconds(60)
        }
        try await bridge.start(
          policy([.outboundTransportV4], pended: { held.keep($0) }) { _, out in out.pend() })
        let receiver = Receiver(in: "p1")
        Sender(to: "10.9.1.2").send(count: 20)
        try await expectSoon { held.count == 20 }
        switch fate {
        case .permitted: Background { held.permitAll() }.join()
        case .blocked: Background { held.blockAll() }.join()
        case .forgotten: held.dropAll()
        case .expired, .stopped: break
        }
        if fate != .stopped {
          try await expectSoon { try await bridge.statistics().queues[0].pendedNow == 0 }
          let queue = try await bridge.statistics().queues[0]
          let arrives = fate == .permitted || (fate != .blocked && failure == .permit)
          #expect(queue.permitted == (fate == .permitted ? 20 : 0))
          #expect(queue.failurePolicyApplied == (fate == .forgotten || fate == .expired ? 20 : 0))
          #expect(queue.pendExpired == (fate == .expired ? 20 : 0))
          if arrives { try await expectSoon { receiver.count == 20 } }
          // A decision that comes too late decides nothing.
          held.permitAll()
          try await expectAccounting(bridge)
        }
        let report = await bridge.stop()
        #expect(report.decided == (fate == .stopped ? 20 : 0))
        let expected = fate == .permitted || (fate != .blocked && failure == .permit) ? 20 : 0
        try await expectSoon { receiver.count == expected }
        held.blockAll()
        #expect(receiver.count == expected)
        #expect(report.rulesRemoved)
      }
    }

    @Test func `A device that goes down takes its own packets, and theirs alone are given up`()
      async throws
    {
      try await withTopology(peers: 2) { _ in
        let held = HeldPackets()
        let log = EventLog()
        let bridge = makeBridge { $0.pendDeadline = .seconds(60) }
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          policy([.outboundTransportV4], tags: [tag], pended: { held.keep($0) }) { packet, out in
            try? out.associate(packet.sequence, with: tag, notify: notify)
            out.pend()
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 3)
          try await expectSoon { held.count == 3 }
          Sender(to: "10.9.2.2").send(count: 4, first: 100)
          try await expectSoon { held.count == 7 }
          try Shell.run("ip link set a2 down")
          try await expectSoon { try await bridge.statistics().queues[0].flushed == 4 }
          try await expectSoon { log.all.count == 4 }
          #expect(log.reasons() == [.queueFlushed, .queueFlushed, .queueFlushed, .queueFlushed])
          #expect(log.all.allSatisfy { $0.context >= 100 })
          #expect(try await bridge.statistics().queues[0].pendedNow == 3)
          held.permitAll()
          try await expectSoon { receiver.count == 3 }
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `A device that bounces: what it took is not told as surely released`() async throws {
      try await withTopology(peers: 2) { _ in
        let held = HeldPackets()
        let log = EventLog()
        let bridge = makeBridge { $0.pendDeadline = .seconds(60) }
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          policy([.outboundTransportV4], tags: [tag], pended: { held.keep($0) }) { packet, out in
            try? out.associate(packet.sequence, with: tag, notify: notify)
            out.pend()
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 2)
          Sender(to: "10.9.2.2").send(count: 3, first: 100)
          try await expectSoon { held.count == 5 }
          try Shell.run("ip link set a2 down; ip link set a2 up")
          try await expectSoon { try await bridge.statistics().queues[0].waiting == 2 }
          try await expectSoon { try await bridge.statistics().queues[0].suspects == 5 }
          held.permitAll()
          try await expectSoon { log.reasons().count == 5 }
          #expect(log.all.allSatisfy { $0.certainty == .inferred })
          let queue = try await bridge.statistics().queues[0]
          #expect(queue.flushed == 3 && queue.suspects == 0)
          try await expectSoon { receiver.count == 2 }
          try await expectAccounting(bridge)
          // What comes after is in no doubt.
          Sender(to: "10.9.1.2").send(7)
          try await expectSoon { held.count == 1 }
          held.permitAll()
          try await expectSoon { log.reasons().count == 6 }
          #expect(log.all.filter { $0.context == 7 }.allSatisfy { $0.certainty == .exact })
        }
      }
    }

    @Test func `A final block of a lower sublayer voids the ticket`() async throws {
      try await withTopology { _ in
        let held = HeldPackets()
        let bridge = makeBridge()
        var both = policy([.outboundTransportV4], pended: { held.keep($0) }) { _, out in out.pend()
        }
        both.sublayers = [Sublayer(name: "low", weight: 1)]
        both.filters.append(
          Filter(
            name: "block", layer: .outboundTransportV4, sublayer: "low",
            conditions: [Condition(.ipRemotePort, .equal(7))], action: .block))
        try await running(bridge, both) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 5)
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 5 }
          #expect(held.count == 0)
          #expect(try await bridge.statistics().queues[0].pended == 0)
          #expect(receiver.count == 0)
        }
      }
    }
  }
}
