// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

extension NetnsTests {
  /// Contexts on real packets: put on at OUTPUT, read at POSTROUTING.
  @Suite struct Tagging {
    @Test func `F3: contexts 0, 1 and UInt64.max come back from a real packet`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let contexts: [UInt64] = [0, 1, .max]
        let found = Shared<[UInt64?]>([])
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            if packet.layer == .outboundTransportV4 {
              try? out.associate(contexts[Int(packet.sequence)], with: tag)
            } else {
              let context = try? out.retrieve(tag)
              found.change { $0.append(context) }
            }
          }
        ) {
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 3)
          try await expectSoon { found.value.count == 3 }
          #expect(found.value == [0, 1, .max])
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `F4: flags are refused and the layer comes back in notify`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let refusal = Shared<TaggingError?>(nil)
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            guard packet.layer == .outboundTransportV4 else { return }
            do throws(TaggingError) {
              try out.associate(1, with: tag, notify: notify, flags: 1)
            } catch {
              refusal.change { $0 = error }
            }
            try? out.associate(2, with: tag, notify: notify)
          }
        ) {
          Sender(to: "10.9.1.2").send(5)
          try await expectSoon { log.kinds.contains(.contextRemoved) }
          #expect(refusal.value == .invalidFlags)
          #expect(log.all.allSatisfy { $0.associatedAt == Layer.outboundTransportV4.rawValue })
          #expect(log.all.last?.layer == Layer.outboundIPPacketV4.rawValue)
          #expect(log.all.allSatisfy { $0.context == 2 })
        }
      }
    }

    @Test func `F5: one notify function serves three tags and counts each`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tags = (0..<3).map { bridge.makeTag(named: "t\($0)") }
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          policy([.outboundTransportV4], tags: tags) { packet, out in
            // 1 of 6 packets gets tag 0, 2 of 6 tag 1, 3 of 6 tag 2.
            let number = [0, 1, 1, 2, 2, 2][Int(packet.sequence % 6)]
            try? out.associate(packet.sequence, with: tags[number], notify: notify)
          }
        ) {
          Sender(to: "10.9.1.2").send(count: 60)
          try await expectSoon { log.reasons().count == 60 }
          #expect(tags.map { log.reasons($0).count } == [10, 20, 30])
          let statistics = try await bridge.statistics()
          #expect(statistics.tags.map(\.associated) == [10, 20, 30])
          #expect(statistics.tags.map(\.live) == [0, 0, 0])
        }
      }
    }

    @Test func `F6: a failing notify function is counted and packets are unaffected`() async throws
    {
      struct Refused: Error {}
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("fails") { _ in throw Refused() }
        try await running(
          bridge,
          policy([.outboundTransportV4], tags: [tag]) { packet, out in
            try? out.associate(packet.sequence, with: tag, notify: notify)
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 20)
          try await expectSoon { receiver.count == 20 }
          // Two events each: exit_netio and context_removed.
          try await expectSoon { try await bridge.statistics().notifyFailures == 40 }
        }
      }
    }

    @Test func `F7: retrieving leaves the context`() async throws {
      let found = try await retrieveTwice(removing: false)
      #expect(found.values == [42, 42])
      #expect(found.errors.isEmpty)
      #expect(found.reasons == [.released])
    }

    @Test func `F8: retrieving with removal detaches and frees the handle once`() async throws {
      let found = try await retrieveTwice(removing: true)
      #expect(found.values == [42])
      #expect(found.errors == [.notFound])
      #expect(found.reasons == [.removedByCaller])
    }

    private struct Found {
      var values: [UInt64] = []
      var errors: [TaggingError] = []
      var reasons: [RemovalReason] = []
    }

    /// Tags at OUTPUT, retrieves twice at POSTROUTING.
    private func retrieveTwice(removing: Bool) async throws -> Found {
      let result = Shared(Found())
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            guard packet.layer == .outboundIPPacketV4 else {
              try? out.associate(42, with: tag, notify: notify)
              return
            }
            for _ in 0..<2 {
              do throws(TaggingError) {
                let context = try out.retrieve(tag, removing: removing)
                result.change { $0.values.append(context) }
              } catch {
                result.change { $0.errors.append(error) }
              }
            }
          }
        ) {
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { log.kinds.contains(.contextRemoved) }
          let tagging = try await bridge.statistics().tagging
          #expect(tagging.associated == 1)
          #expect(tagging.ended == 1)
        }
        // The bridge has stopped, so every event has been told.
        result.change { $0.reasons = log.reasons() }
      }
      return result.value
    }

    @Test func `F9: remove returns before its one event`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let eventsAtReturn = Shared(-1)
        let later = Shared<[Bool]>([])
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            if packet.layer == .outboundTransportV4 {
              try? out.associate(9, with: tag, notify: notify)
              try? out.remove(tag)
              eventsAtReturn.change { $0 = log.all.count }
            }
            let bears = out.bears(tag)
            later.change { $0.append(bears) }
          }
        ) {
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { later.value.count == 2 && !log.all.isEmpty }
          #expect(eventsAtReturn.value == 0)
          #expect(later.value == [false, false])
        }
        #expect(log.kinds == [.contextRemoved])
        #expect(log.reasons() == [.removedByCaller])
      }
    }

    @Test func `F23: the stream layers are refused`() async throws {
      let bridge = makeBridge()
      await #expect(throws: BridgeError.self) {
        try await bridge.start(policy([.streamV4], protocolNumber: nil) { _, _ in })
      }
      do throws(BridgeError) {
        try await bridge.start(policy([.streamV6], protocolNumber: nil) { _, _ in })
      } catch {
        guard case .policy(.layerHasNoPackets(_, let layer)) = error else {
          Issue.record("\(error)")
          return
        }
        #expect(layer == "stream-v6")
      }
    }
  }
}
