// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

extension NetnsTests {
  /// However a packet ends, each association ends with one terminal event.
  @Suite struct TerminalEvents {
    @Test func `F10: removeAll detaches 1,000 held packets of one tag only`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let doomed = bridge.makeTag(named: "doomed")
        let kept = bridge.makeTag(named: "kept")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let held = HeldPackets()
        try await running(
          bridge,
          policy([.outboundTransportV4], tags: [doomed, kept], pended: { held.keep($0) }) {
            packet, out in
            try? out.associate(packet.sequence, with: doomed, notify: notify)
            try? out.associate(packet.sequence, with: kept, notify: notify)
            out.pend(deadline: .seconds(60))
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2", hasRoom: true).send(count: 1000)
          try await expectSoon { held.count == 1000 }
          #expect(bridge.removeAll(doomed) == 1000)
          try await expectSoon { log.reasons(doomed).count == 1000 }
          #expect(log.reasons(doomed).allSatisfy { $0 == .removedByCaller })
          #expect(log.reasons(kept).isEmpty)
          #expect(held.retrieve(kept) == (0..<1000).map { .success($0) })
          #expect(held.retrieve(doomed).allSatisfy { $0 == .failure(.notFound) })
          held.permitAll()
          try await expectSoon { receiver.count == 1000 }
          try await expectSoon { log.reasons(kept).count == 1000 }
          #expect(log.reasons(doomed).count == 1000)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `F13: exit_netio comes from the last hook`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag], pended: { $0.permit() })
          { packet, out in
            guard packet.layer == .outboundTransportV4 else { return }
            try? out.associate(7, with: tag, notify: notify)
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { receiver.count == 1 }
          try await expectSoon { log.kinds.contains(.contextRemoved) }
          let exit = try #require(log.all.first { $0.kind == .exitNetIO })
          #expect(exit.layer == Layer.outboundIPPacketV4.rawValue)
          #expect(exit.certainty == .exact)
        }
      }
    }

    @Test func `F13: a packet that waits at the last hook has not exited`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let held = HeldPackets()
        try await running(
          bridge,
          policy([.outboundIPPacketV4], tags: [tag], pended: { held.keep($0) }) { packet, out in
            try? out.associate(7, with: tag, notify: notify)
            out.pend()
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { held.count == 1 }
          #expect(log.kinds.isEmpty)
          held.permitAll()
          try await expectSoon { receiver.count == 1 && log.all.count == 2 }
        }
        #expect(log.kinds == [.exitNetIO, .contextRemoved])
      }
    }

    @Test func `F14: one tagged datagram exits, then its context is removed`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let stream = bridge.events()
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            guard packet.layer == .outboundTransportV4 else { return }
            try? out.associate(packet.sequence, with: tag, notify: notify)
          }
        ) {
          Sender(to: "10.9.1.2").send(3)
          try await expectSoon { log.all.count == 2 }
          let tagging = try await bridge.statistics().tagging
          #expect(tagging.live == 0)
          #expect(tagging.ended(.released) == 1)
        }
        #expect(log.kinds == [.exitNetIO, .contextRemoved])
        #expect(log.all.map(\.time) == log.all.map(\.time).sorted())
        // The stream tells the same story, and ends with the bridge.
        var streamed: [LifeEventKind] = []
        for await event in stream { streamed.append(event.kind) }
        #expect(streamed == log.kinds)
      }
    }

    @Test(arguments: [
      ("accept", RemovalReason.released), ("drop", .blocked), ("absorb", .blocked),
      ("deadline", .expired), ("held, then permitted", .released), ("held, then blocked", .blocked),
    ])
    func `F15: one terminal event`(_ how: String, _ reason: RemovalReason) async throws {
      let log = try await endingOf(how, failure: .block)
      #expect(log.reasons() == [reason])
      #expect(log.kinds.last == .contextRemoved)
    }

    @Test func `F15: one terminal event when the deadline permits`() async throws {
      let log = try await endingOf("deadline", failure: .permit)
      #expect(log.reasons() == [.released])
    }

    @Test(arguments: FailurePolicy.allCases)
    func `F15: one terminal event when the engine stops`(_ failure: FailurePolicy) async throws {
      let log = try await endingOf("engine stop", failure: failure)
      #expect(log.reasons() == [failure == .permit ? .released : .expired])
    }

    @Test func `F15: one terminal event when a packet never comes to its next hook`() async throws {
      try await withTopology { _ in
        // Somebody drops it between our two hooks.
        try Shell.run(
          """
          nft 'add table inet foe; add chain inet foe out \
          { type filter hook output priority 10; }; add rule inet foe out udp dport 7 drop'
          """)
        let bridge = makeBridge { $0.sweepAfter = .milliseconds(300) }
        let log = try await oneTagged(bridge, [.outboundTransportV4, .outboundIPPacketV4]) { _ in }
        #expect(log.reasons() == [.lost])
        #expect(log.all.last?.certainty == .inferred)
      }
    }

    @Test func `F15: one terminal event when another program flushes the queue`() async throws {
      try await withTopology { _ in
        try Shell.run(
          "nft 'add table ip foe; add chain ip foe in { type filter hook input priority 5; }'")
        let held = HeldPackets()
        let bridge = makeBridge()
        let log = try await oneTagged(
          bridge, [.outboundTransportV4], pended: { held.keep($0) },
          between: {
            try await expectSoon { held.count == 1 }
            try Shell.run("nft delete table ip foe")
          },
          after: {
            let queue = try await bridge.statistics().queues[0]
            #expect(queue.flushed == 1)
            #expect(queue.pendedNow == 0)
          }
        ) { $0.pend(deadline: .seconds(60)) }
        #expect(log.reasons() == [.queueFlushed])
        held.permitAll()
      }
    }

    private func endingOf(_ how: String, failure: FailurePolicy) async throws -> EventLog {
      var log = EventLog()
      let held = HeldPackets()
      try await withTopology { _ in
        let bridge = makeBridge { $0.failurePolicy = failure }
        log = try await oneTagged(
          bridge, [.outboundTransportV4], pended: { held.keep($0) },
          between: {
            if how == "engine stop" {
              try await expectSoon { held.count == 1 }
              let report = await bridge.stop()
              #expect(report.decided == 1)
            }
          }
        ) { out in
          switch how {
          case "accept": out.permit()
          case "drop": out.block()
          case "absorb": out.absorb()
          case "deadline": out.pend(deadline: .milliseconds(50))
          case "held, then permitted": out.hold(for: .milliseconds(20), thenPermit: true)
          case "held, then blocked": out.hold(for: .milliseconds(20), thenPermit: false)
          default: out.pend(deadline: .seconds(60))
          }
        }
      }
      held.permitAll()
      return log
    }

    /// Tags one packet and waits until its association has ended.
    private func oneTagged(
      _ bridge: Bridge, _ layers: [Layer], pended: PendedBody? = nil,
      between: () async throws -> Void = {}, after: () async throws -> Void = {},
      _ decide: @escaping @Sendable (inout Classification) -> Void
    ) async throws -> EventLog {
      let tag = bridge.makeTag(named: "t")
      let log = EventLog()
      let notify = bridge.registerNotify("log") { log.note($0) }
      try await bridge.start(
        policy(layers, tags: [tag], pended: pended) { packet, out in
          guard packet.layer == layers[0] else { return }
          try? out.associate(7, with: tag, notify: notify)
          decide(&out)
        })
      Sender(to: "10.9.1.2").send(1)
      do {
        try await between()
        try await expectSoon { log.kinds.contains(.contextRemoved) }
        try await after()
      } catch {
        _ = await bridge.stop()
        throw error
      }
      _ = await bridge.stop()
      return log
    }
  }
}
