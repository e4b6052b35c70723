// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

extension NetnsTests {
  /// Copies that a callout makes and sends.
  @Suite struct Clones {
    @Test(arguments: ["10.9.1.2", "fd09:1::2"])
    func `F17: a clone is told of and bears nothing`(_ peer: String) async throws {
      let seen = try await cloning(peer) { _, _, _ in }
      #expect(seen.received == [1, 1])
      #expect(seen.events.filter { $0.kind == .clonedViaAPI }.count == 1)
      // OUTPUT of the clone, then POSTROUTING of both.
      #expect(seen.clones == ["output none injected", "postrouting none"])
      #expect(seen.originals == ["postrouting 77"])
      #expect(seen.associated == 1)
      #expect(seen.reasons == [.released])
    }

    @Test(arguments: ["10.9.1.2", "fd09:1::2"])
    func `F19: a context that is moved is found on the clone only`(_ peer: String) async throws {
      let seen = try await cloning(peer) { out, tag, clone in
        try? out.move(tag, to: &clone)
      }
      #expect(seen.received == [1, 1])
      #expect(seen.clones == ["output 77 injected", "postrouting 77"])
      #expect(seen.originals == ["postrouting none"])
      #expect(seen.associated == 2)
      #expect(seen.reasons.sorted { $0.rawValue < $1.rawValue } == [.released, .movedToClone])
    }

    @Test func `F20: a context that is copied is found on both`() async throws {
      let seen = try await cloning("10.9.1.2") { out, tag, clone in
        try? out.copy(tag, to: &clone)
      }
      #expect(seen.received == [1, 1])
      #expect(seen.clones == ["output 77 injected", "postrouting 77"])
      #expect(seen.originals == ["postrouting 77"])
      #expect(seen.associated == 2)
      #expect(seen.reasons == [.released, .released])
    }

    @Test func `A clone that is not sent ends what it bears`() async throws {
      let seen = try await cloning("10.9.1.2", sends: false) { out, tag, clone in
        try? out.copy(tag, to: &clone)
      }
      #expect(seen.received == [1])
      #expect(seen.associated == 2)
      #expect(seen.reasons.contains(.removedByCaller))
      #expect(seen.reasons.contains(.released))
    }

    @Test func `A truncated packet cannot be cloned`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let refusal = Shared("")
        try await running(
          bridge,
          policy([.outboundTransportV4]) { packet, out in
            do {
              _ = try out.clone(packet)
            } catch {
              refusal.change { $0 = "\(error)" }
            }
          }
        ) {
          Sender(to: "10.9.1.2").send(1, size: 1000)
          try await expectSoon { !refusal.value.isEmpty }
        }
      }
    }

    private struct Seen {
      var clones: [String] = []
      var originals: [String] = []
      var received: [UInt64] = []
      var events: [LifeEvent] = []
      var reasons: [RemovalReason] = []
      var associated: UInt64 = 0
    }

    /// Tags and clones a packet at OUTPUT; notes what original and clone bear later.
    ///
    /// The clone is known by its time to live.
    private func cloning(
      _ peer: String, sends: Bool = true,
      _ work: @escaping @Sendable (inout Classification, ContextTag, inout PacketClone) -> Void
    ) async throws -> Seen {
      let result = Shared(Seen())
      let isIPv6 = peer.contains(":")
      let layers: [Layer] =
        isIPv6
        ? [.outboundTransportV6, .outboundIPPacketV6] : [.outboundTransportV4, .outboundIPPacketV4]
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await running(
          bridge,
          policy(layers, tags: [tag], needs: .wholePacket) { packet, out in
            let context = try? out.retrieve(tag)
            let words =
              "\(packet.hook) \(context.map(String.init) ?? "none")"
              + (packet.metadata.isInjected ? " injected" : "")
            if packet.layout.timeToLive == 33 {
              result.change { $0.clones.append(words) }
              return
            }
            guard packet.hook == .output else {
              result.change { $0.originals.append(words) }
              return
            }
            try? out.associate(77, with: tag, notify: notify)
            guard var clone = try? out.clone(packet) else { return }
            // Time to live or hop limit; the kernel fills in the IPv4 header's checksum.
            clone.bytes[isIPv6 ? 7 : 8] = 33
            work(&out, tag, &clone)
            if sends { try? clone.injectSend() }
          }
        ) {
          let receiver = Receiver(in: "p1", isIPv6: isIPv6)
          Sender(to: peer).send(1)
          let expected = sends ? 2 : 1
          try await expectSoon { receiver.count == expected }
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          let tagging = try await bridge.statistics().tagging
          result.change {
            $0.received = receiver.contents.sequences
            $0.associated = tagging.associated
          }
          try await expectAccounting(bridge)
        }
        result.change {
          $0.events = log.all
          $0.reasons = log.reasons()
        }
      }
      return result.value
    }
  }
}
