// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// Packets that meet several layers at one hook.
  @Suite struct LayerWalks {
    /// A callout that asks nothing of what it sees.
    private func watching(
      _ layers: [Layer], _ met: Shared<[String]>, protocolNumber: UInt8? = 17
    ) -> FilterPolicy {
      policy(layers, protocolNumber: protocolNumber) { packet, _ in
        let text = "\(packet.layer.name) \(packet.hook)"
        met.change { $0.append(text) }
      }
    }

    @Test(arguments: [false, true])
    func `a datagram meets transport and datagram data, each way in its order`(
      _ isIPv6: Bool
    ) async throws {
      try await withTopology { _ in
        let (bridge, met) = (makeBridge(), Shared<[String]>([]))
        let layers: [Layer] =
          isIPv6
          ? [.inboundTransportV6, .outboundTransportV6, .datagramDataV6]
          : [.inboundTransportV4, .outboundTransportV4, .datagramDataV4]
        let v = isIPv6 ? "v6" : "v4"
        try await running(bridge, watching(layers, met)) {
          Sender(to: isIPv6 ? "fd09:1::2" : "10.9.1.2").send(1)
          try await expectSoon { met.value.count == 2 }
          #expect(met.value == ["datagram-data-\(v) output", "outbound-transport-\(v) output"])
          let receiver = Receiver(isIPv6: isIPv6)
          Sender(in: "p1", to: isIPv6 ? "fd09:1::1" : "10.9.1.1").send(1)
          try await expectSoon { receiver.count == 1 }
          #expect(
            met.value.dropFirst(2) == ["inbound-transport-\(v) input", "datagram-data-\(v) input"])
          try await expectAccounting(bridge)
        }
      }
    }

    @Test(arguments: [false, true])
    func `an ICMP error meets transport and ICMP error inbound, ICMP error alone outbound`(
      _ isIPv6: Bool
    ) async throws {
      try await withTopology { _ in
        let (bridge, met) = (makeBridge(), Shared<[String]>([]))
        let layers: [Layer] =
          isIPv6
          ? [
            .inboundTransportV6, .outboundTransportV6, .datagramDataV6, .inboundICMPErrorV6,
            .outboundICMPErrorV6,
          ]
          : [
            .inboundTransportV4, .outboundTransportV4, .datagramDataV4, .inboundICMPErrorV4,
            .outboundICMPErrorV4,
          ]
        let v = isIPv6 ? "v6" : "v4"
        var policy = watching(layers, met)
        for number in policy.filters.indices {
          policy.filters[number].conditions = [
            Condition(.ipProtocol, .equal(isIPv6 ? 58 : 1)),
            Condition(.icmpType, .equal(isIPv6 ? 1 : 3)),
          ]
        }
        try await running(bridge, policy) {
          // Nobody listens: each side tells the other that the port is closed.
          Sender(to: isIPv6 ? "fd09:1::2" : "10.9.1.2").send(1)
          try await expectSoon { met.value.count == 2 }
          #expect(met.value == ["inbound-transport-\(v) input", "inbound-icmp-error-\(v) input"])
          Sender(in: "p1", to: isIPv6 ? "fd09:1::1" : "10.9.1.1").send(1)
          try await expectSoon { met.value.count == 3 }
          #expect(met.value.last == "outbound-icmp-error-\(v) output")
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `the first layer that blocks ends the packet`() async throws {
      try await withTopology { _ in
        let (bridge, met) = (makeBridge(), Shared<[String]>([]))
        let blocking = policy([.outboundTransportV4, .datagramDataV4]) { packet, out in
          let text = packet.layer.name
          met.change { $0.append(text) }
          if packet.layer == .datagramDataV4, packet.sequence == 1 { out.block() }
          if packet.layer == .outboundTransportV4, packet.sequence == 2 { out.block() }
        }
        try await running(bridge, blocking) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2")
          for number in 0..<4 as Range<UInt64> { sender.send(number) }
          try await expectSoon { receiver.count == 2 }
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 2 }
          let (data, transport) = ("datagram-data-v4", "outbound-transport-v4")
          #expect(met.value == [data, transport, data, data, transport, data, transport])
          #expect(receiver.contents.sequences == [0, 3])
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `a packet that one layer pends waits, unless the next blocks it`() async throws {
      try await withTopology { _ in
        let held = HeldPackets()
        let bridge = makeBridge { $0.pendDeadline = .seconds(60) }
        let layers: [Layer] = [.outboundTransportV4, .datagramDataV4]
        let pendedAt = Shared<[Layer]>([])
        let keep: PendedBody = { packet in
          let layer = packet.layer
          pendedAt.change { $0.append(layer) }
          held.keep(packet)
        }
        let pending = policy(layers, pended: keep) { packet, out in
          switch packet.layer {
          case .datagramDataV4: out.pend()
          default: if packet.sequence == 1 { out.block() }
          }
        }
        try await running(bridge, pending) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 3)
          try await expectSoon { held.count == 2 }
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 1 }
          #expect(pendedAt.value == [.datagramDataV4, .datagramDataV4])
          Background { held.permitAll() }.join()
          try await expectSoon { receiver.count == 2 }
          #expect(receiver.contents.sequences == [0, 2])
        }
      }
    }

    @Test func `a tag of one layer is found at the next of the same hook`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let found = Shared<[UInt64?]>([])
        let tagging = policy([.inboundTransportV4, .datagramDataV4], tags: [tag]) { packet, out in
          guard packet.hook == .input else { return }
          if packet.layer == .inboundTransportV4 {
            try? out.associate(packet.sequence &+ 7, with: tag, notify: notify)
          } else {
            let context = try? out.retrieve(tag)
            found.change { $0.append(context) }
          }
        }
        try await running(bridge, tagging) {
          let receiver = Receiver()
          Sender(in: "p1", to: "10.9.1.1").send(count: 3)
          try await expectSoon { receiver.count == 3 }
          #expect(found.value == [7, 8, 9])
          try await expectSoon { log.reasons().count == 3 }
          #expect(log.all.allSatisfy { $0.associatedAt == Layer.inboundTransportV4.rawValue })
        }
      }
    }
  }
}
