// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// What filters at the layers of packets find on real ones.
  @Suite struct LayerFields {
    private func filters(
      _ layer: Layer, _ conditions: [Condition], _ action: FilterAction = .block
    ) -> FilterPolicy {
      FilterPolicy(filters: [
        Filter(name: "f", layer: layer, conditions: conditions, action: action)
      ])
    }

    private func blocked(_ bridge: Bridge) async throws -> UInt64 {
      try await bridge.statistics().queues[0].blocked
    }

    @Test(arguments: [false, true])
    func `an inbound ICMP error is blocked by the packet that it is about`(
      _ isIPv6: Bool
    ) async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let peer = isIPv6 ? "fd09:1::2" : "10.9.1.2"
        let address = try #require(IPAddress(peer))
        let policy = filters(
          isIPv6 ? .inboundICMPErrorV6 : .inboundICMPErrorV4,
          [
            Condition(.embeddedProtocol, .equal(17)), Condition(.embeddedRemotePort, .equal(7)),
            Condition(.embeddedRemoteAddress, equals: address),
            Condition(.embeddedLocalAddressType, .equal(1)),
            Condition(.icmpType, .equal(isIPv6 ? 1 : 3)),
          ])
        try await running(bridge, policy) {
          Sender(to: peer, port: 9).send(1)
          try await expectSoon { try await bridge.statistics().queues[0].permitted >= 1 }
          #expect(try await blocked(bridge) == 0)
          Sender(to: peer, port: 7).send(1)
          try await expectSoon { try await blocked(bridge) == 1 }
        }
      }
    }

    @Test func `a block at outbound ICMP error hides that a port is closed`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        try await running(
          bridge, filters(.outboundICMPErrorV4, [Condition(.icmpCode, .equal(3))])
        ) {
          Sender(in: "p1", to: "10.9.1.1").send(1)
          try await expectSoon { try await blocked(bridge) == 1 }
        }
      }
    }

    @Test func `an interface is matched by its LUID, type and tunnel type`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let index = UInt128(if_nametoindex("a1"))
        let policy = filters(
          .outboundTransportV4,
          [
            Condition(.ipLocalInterface, .equal(6 << 48 | index << 24)),
            Condition(.interfaceType, .equal(6)), Condition(.tunnelType, .equal(0)),
            Condition(.ipDestinationAddressType, .equal(1)),
            Condition(.ipProtocol, .equal(17)),
          ])
        try await running(bridge, policy) {
          let receiver = Receiver()
          Sender(to: "127.0.0.1").send(1)
          try await expectSoon { receiver.count == 1 }
          #expect(try await blocked(bridge) == 0)
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { try await blocked(bridge) == 1 }
          // A device that comes later is known, too.
          try Shell.run(
            """
            ip link add c1 type veth peer name c2
            ip addr add 10.9.8.1/24 dev c1
            ip link set c1 up
            ip link set c2 up
            ip neigh replace 10.9.8.2 lladdr 02:00:00:00:09:02 dev c1 nud permanent
            """)
          let later = UInt128(if_nametoindex("c1"))
          var next = policy
          next.filters[0].conditions[0] = Condition(
            .ipLocalInterface, .equal(6 << 48 | later << 24))
          try await bridge.apply(next)
          Sender(to: "10.9.8.2").send(1)
          try await expectSoon { try await blocked(bridge) == 2 }
        }
      }
    }

    @Test func `F72: four fragments are met one by one, then once as a whole`() async throws {
      try await withTopology { _ in
        let (bridge, met) = (makeBridge(), Shared<[String]>([]))
        let watching = policy([.inboundIPPacketV4, .inboundTransportV4]) { packet, _ in
          let text = "\(packet.layer.name) \(packet.flags.contains(.fragment))"
          met.change { $0.append(text) }
        }
        try await running(bridge, watching) {
          let receiver = Receiver()
          FragmentSender(in: "p1").send([0, 1, 2, 3])
          try await expectSoon { receiver.count == 1 }
          let one = "inbound-ippacket-v4 true"
          #expect(met.value == [one, one, one, one, "inbound-transport-v4 false"])
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `F72: a filter that wants no fragments leaves the whole packet alone`() async throws
    {
      try await withTopology { _ in
        let bridge = makeBridge { $0.kernelFilters = .off }
        let conditions = [Condition(.flags, .flagsNoneSet(ConditionFlags.fragment.rawValue))]
        try await running(bridge, filters(.inboundIPPacketV4, conditions)) {
          let receiver = Receiver()
          FragmentSender(in: "p1").send([0, 1, 2, 3])
          try await expectSoon { receiver.count == 1 }
          Sender(in: "p1", to: "10.9.1.1").send(1)
          try await expectSoon { try await blocked(bridge) >= 1 }
          #expect(receiver.count == 1)
        }
      }
    }

    @Test func `F73: packets are met at IPFORWARD only while forwarding is on`() async throws {
      try await withTopology(peers: 2) { topology in
        let (bridge, met) = (makeBridge(), Shared<[UInt64]>([]))
        let watching = policy([.inboundIPPacketV4, .ipForwardV4]) { packet, _ in
          guard packet.layer == .ipForwardV4 else { return }
          let number = packet.sequence
          met.change { $0.append(number) }
        }
        try await running(bridge, watching) {
          let receiver = Receiver(in: "p2")
          let sender = Sender(in: "p1", to: "10.9.2.2")
          sender.send(count: 5)
          try await expectSoon { try await bridge.statistics().queues[0].permitted == 5 }
          try topology.enableForwarding()
          sender.send(count: 3, first: 10)
          try await expectSoon { receiver.count == 3 }
          #expect(met.value == [10, 11, 12])
          try await expectAccounting(bridge)
        }
      }
    }
  }
}
