// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import FirewallRules
import Foundation
import PacketTagging
import Testing

extension NetnsTests {
  /// Flows that every callout has released, which the kernel passes unseen.
  @Suite struct FlowBypasses {
    /// Permits all, and is done with a flow after so many packets.
    private func callout(_ name: String, _ asked: Shared<Int>, _ packets: UInt32?)
      -> CalloutRegistration
    {
      var callout = CalloutRegistration(name: name) {
        ClosureCallout { _, out in
          asked.change { $0 += 1 }
          out.permit()
        }
      }
      callout.packetsPerFlow = packets
      return callout
    }

    private func filter(
      _ name: String, _ action: FilterAction, _ conditions: [Condition] = [],
      sublayer: String = "high", flags: FilterFlags = []
    ) -> Filter {
      Filter(
        name: name, layer: .outboundTransportV4, sublayer: sublayer, conditions: conditions,
        action: action, flags: flags)
    }

    private let udp = Condition(.ipProtocol, .equal(17))
    private let sublayers = [
      Sublayer(name: "high", weight: 0xf000), Sublayer(name: "low", weight: 1),
    ]

    private func port(_ number: UInt128) -> Condition { Condition(.ipRemotePort, .equal(number)) }

    private func queued(_ bridge: Bridge) async throws -> UInt64 {
      try #require(try await bridge.statistics().rulePackets)
    }

    @Test(arguments: [RuleBackend?.none, .iptables])
    func `a released flow is not queued, until another policy is in force`(
      backend: RuleBackend?
    ) async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.rules = .managed(backend) }
        let asked = Shared(0)
        let policy = FilterPolicy(
          sublayers: sublayers, callouts: [callout("first", asked, 3)],
          filters: [filter("first", .calloutUnknown("first"))])
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 3)
          try await expectSoon { asked.value == 3 && bridge.releasedFlows == 1 }
          let before = try await queued(bridge)
          sender.send(count: 50, first: 3)
          try await expectSoon { receiver.count == 53 }
          #expect(try await queued(bridge) == before)
          #expect(try await bridge.statistics().kernelHits == [50])
          Sender(to: "10.9.1.2").send(count: 2, first: 60)
          try await expectSoon { asked.value == 5 }
          try await bridge.apply(policy)
          sender.send(count: 1, first: 70)
          try await expectSoon { asked.value == 6 }
          #expect(try await queued(bridge) == before + 3)
          #expect(try await bridge.statistics().isHealthy)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `a flow that one callout has not released is still queued`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let (done, never) = (Shared(0), Shared(0))
        let policy = FilterPolicy(
          sublayers: sublayers,
          callouts: [callout("done", done, 1), callout("never", never, nil)],
          filters: [
            filter("done", .calloutUnknown("done"), [udp]),
            filter("never", .calloutInspection("never"), [port(9)], sublayer: "low"),
          ])
        try await running(bridge, policy) {
          let (seven, nine) = (
            Sender(to: "10.9.1.2", port: 7), Sender(to: "10.9.1.2", port: 9)
          )
          seven.send(count: 1)
          nine.send(count: 1)
          try await expectSoon { bridge.releasedFlows == 1 && never.value == 1 }
          let before = try await queued(bridge)
          seven.send(count: 5)
          nine.send(count: 5)
          try await expectSoon { never.value == 6 }
          #expect(try await queued(bridge) == before + 5)
          #expect(done.value == 2)
        }
      }
    }

    @Test func `a released flow is permitted at its callout's place and no further`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let asked = Shared(0)
        let policy = FilterPolicy(
          sublayers: sublayers, callouts: [callout("asked", asked, 1)],
          filters: [
            filter("soft", .calloutUnknown("asked"), [udp, port(7)]),
            filter("hard", .calloutUnknown("asked"), [udp, port(8)], flags: .clearActionRight),
            filter("look", .calloutInspection("asked"), [udp, port(9)]),
            filter("low", .permit, [udp], sublayer: "low"),
          ])
        try await running(bridge, policy) {
          let senders = [7, 8, 9].map { Sender(to: "10.9.1.2", port: UInt16($0)) }
          let receivers = [7, 8, 9].map { Receiver(in: "p1", port: UInt16($0)) }
          for sender in senders { sender.send(count: 1) }
          try await expectSoon { bridge.releasedFlows == 3 }
          let before = try await queued(bridge)
          for sender in senders { sender.send(count: 2, first: 1) }
          try await expectSoon { receivers.allSatisfy { $0.count == 3 } }
          #expect(try await queued(bridge) == before)
          // The hard permit ends at its place, and inspection is passed over.
          #expect(try await bridge.statistics().kernelHits == [2, 2, 0, 4])
        }
      }
    }

    @Test(arguments: [RuleBackend?.none, .iptables])
    func `a flow that is translated is queued on`(backend: RuleBackend?) async throws {
      try await withTopology { _ in
        try Shell.run(
          """
          nft 'table ip nat { chain out { type nat hook output priority -100; \
          udp dport 70 dnat to 10.9.1.2:7; }; }'
          """)
        let bridge = makeBridge { $0.rules = .managed(backend) }
        let asked = Shared(0)
        let policy = FilterPolicy(
          sublayers: sublayers, callouts: [callout("asked", asked, 1)],
          filters: [filter("asked", .calloutUnknown("asked"), [udp])])
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2", port: 70)
          sender.send(count: 1)
          try await expectSoon { bridge.releasedFlows == 1 }
          let before = try await queued(bridge)
          sender.send(count: 4, first: 1)
          try await expectSoon { receiver.count == 5 }
          #expect(try await queued(bridge) == before + 4)
        }
      }
    }
  }
}
