// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutLifecycle
import CalloutTestSupport
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// What was dropped, shown at the discard layers.
  @Suite struct Discards {
    private struct Seen: Equatable, Sendable {
      var layer: Layer
      var port: UInt16
      var reason: String
    }

    /// A policy that shows what is dropped at some layers beside another policy.
    private func showing(
      _ layers: [Layer], _ seen: Shared<[Seen]>, beside policy: FilterPolicy
    ) -> FilterPolicy {
      var policy = policy
      policy.callouts.append(
        CalloutRegistration(name: "watch", neededBytes: .headers) {
          ClosureCallout { packet, out in
            let number = packet.metadata.dropReason
            let reason = number.map { $0 == 0 ? "blocked" : DropReasons.ofKernel.name(of: $0) }
            let found = Seen(
              layer: packet.layer, port: packet.layout.destinationPort, reason: reason ?? "none")
            seen.change { $0.append(found) }
            // Nothing of this can change what has happened.
            out.permit()
          }
        })
      policy.filters += layers.map {
        Filter(name: $0.name, layer: $0, action: .calloutInspection("watch"))
      }
      return policy
    }

    @Test func `F52: what is blocked is shown at a discard layer, what is absorbed is not`()
      async throws
    {
      try await withTopology { _ in
        let (bridge, seen) = (makeBridge(), Shared<[Seen]>([]))
        let blocking = policy([.outboundTransportV4, .datagramDataV4]) { packet, out in
          switch (packet.layer, packet.sequence) {
          case (.outboundTransportV4, 1), (.datagramDataV4, 2): out.block()
          case (.outboundTransportV4, 3): out.absorb()
          default: out.permit()
          }
        }
        let layers: [Layer] = [.outboundTransportV4Discard, .datagramDataV4Discard]
        try await running(bridge, showing(layers, seen, beside: blocking)) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 5)
          try await expectSoon { receiver.count == 2 }
          #expect(
            seen.value == [
              Seen(layer: .outboundTransportV4Discard, port: 7, reason: "blocked"),
              Seen(layer: .datagramDataV4Discard, port: 7, reason: "blocked"),
            ])
          let statistics = try await bridge.statistics().queues[0]
          #expect(statistics.blocked == 2 && statistics.absorbed == 1)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `what the kernel drops of tagged packets is shown with its reason`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.lifecycle = .automatic }
        let seen = Shared<[Seen]>([])
        let tag = bridge.makeTag(named: "t")
        let tagging = policy([.inboundTransportV4], tags: [tag]) { packet, out in
          if packet.layout.destinationPort != 11 { try? out.associate(1, with: tag) }
        }
        try await running(bridge, showing([.inboundTransportV4Discard], seen, beside: tagging)) {
          // Nobody listens at 9; at 11 neither, but those are not tagged; somebody does at 7.
          let receiver = Receiver()
          for port in [11, 9, 7] as [UInt16] {
            Sender(in: "p1", to: "10.9.1.1", port: port).send(1)
          }
          try await expectSoon { receiver.count == 1 }
          try await expectSoon { !seen.value.isEmpty }
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          #expect(
            seen.value == [Seen(layer: .inboundTransportV4Discard, port: 9, reason: "NO_SOCKET")])
        }
      }
    }
  }
}
