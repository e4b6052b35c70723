// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// The scenarios of Microsoft's WFPSampler that inject nothing, at each layer.
  @Suite struct SamplerActions {
    private enum Action { case permit, block, leave, random }

    /// Draws by percentage, the same numbers in every run.
    private struct Draw: Sendable {
      var state: UInt64 = 0x9e37_79b9_7f4a_7c15
      mutating func isBelow(percent: UInt64) -> Bool {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % 100 < percent
      }
    }

    private struct Decisions: Sendable {
      var action = Action.permit
      var draw = Draw()
      var met = 0
      var permitted: [UInt64] = []

      /// What the action says of a datagram; nil: continue.
      mutating func decide(_ number: UInt64) -> Bool? {
        met += 1
        let isPermitted: Bool? =
          switch action {
          case .permit: true
          case .block: false
          case .leave: nil
          case .random: !draw.isBelow(percent: 30)
          }
        if isPermitted == true { permitted.append(number) }
        return isPermitted
      }
    }

    private func say(_ isPermitted: Bool?, _ out: inout Classification) {
      switch isPermitted {
      case true?: out.permit()
      case false?: out.block()
      case nil: out.continue()
      }
    }

    @Test(arguments: Crossing.all)
    func `W1 BASIC_ACTION: block, permit, continue, or by chance`(_ crossing: Crossing)
      async throws
    {
      try await withCrossing(crossing) { bridge, _, _ in
        let decisions = Shared(Decisions())
        // What the callout leaves to the filters behind it, this one blocks.
        let last = Filter(
          name: "last", layer: crossing.layer, weight: .explicit(1),
          conditions: crossing.layer.indicatesFrames ? [] : [Condition(.ipProtocol, .equal(17))],
          action: .block)
        let frames = crossing.layer.indicatesFrames
        let policy = crossing.policy(
          then: frames ? [] : [last],
          packets: { packet, out in
            var answer: Bool?
            let number = packet.sequence
            decisions.change { answer = $0.decide(number) }
            say(answer, &out)
          }
        ) { frame, out in
          guard let number = frame.sequence else { return }
          var answer: Bool?
          decisions.change { answer = $0.decide(number) }
          say(answer, &out)
        }
        try await running(bridge, policy) {
          let receiver = crossing.receiver()
          var next: UInt64 = 0
          var expected: [UInt64] = []
          for action in [Action.permit, .block, .leave, .random, .permit] {
            decisions.change { $0.action = action }
            crossing.send(count: 40, first: next)
            // A filter that blocked all would cut the neighbours off, so none is behind frames.
            if action == .leave, frames { expected += next..<next + 40 }
            next += 40
            try await expectSoon { decisions.value.met == Int(next) }
            if action != .leave { expected += decisions.value.permitted.filter { $0 >= next - 40 } }
          }
          // The last are permitted: what was to come before them has come.
          try await expectSoon { receiver.contents.sequences.last == next - 1 }
          #expect(receiver.contents.sequences == expected)
          let chosen = decisions.value.permitted.filter { (120..<160).contains($0) }.count
          #expect(chosen > 15 && chosen < 40, "\(chosen) of 40 at 70 percent")
        }
      }
    }

    @Test(arguments: [
      Layer.inboundICMPErrorV4, .inboundICMPErrorV6, .outboundICMPErrorV4, .outboundICMPErrorV6,
    ])
    func `W1 BASIC_ACTION: ICMP errors are permitted, blocked or left`(_ layer: Layer)
      async throws
    {
      let isInbound = [.inboundICMPErrorV4, .inboundICMPErrorV6].contains(layer)
      let (teller, told) =
        isInbound ? ("ip netns exec p1", "") : ("", "ip netns exec p1")
      let (host, peer) = layer.isIPv6 ? ("fd09:1::1", "fd09:1::2") : ("10.9.1.1", "10.9.1.2")
      func limitErrors(_ milliseconds: Int) throws {
        try Shell.run(
          """
          \(teller) sh -c 'echo \(milliseconds) > /proc/sys/net/ipv4/icmp_ratelimit; \
          echo \(milliseconds) > /proc/sys/net/ipv6/icmp/ratelimit'
          """)
      }
      try await withTopology { _ in
        try limitErrors(0)
        try Shell.run(
          """
          \(told) nft 'add table inet w; \
          add chain inet w in { type filter hook input priority 300; }; \
          add rule inet w in \(layer.isIPv6 ? "icmpv6" : "icmp") type destination-unreachable counter'
          """)
        let (decisions, bridge) = (Shared(Decisions()), makeBridge())
        let policy = policy([layer], protocolNumber: nil) { _, out in
          var answer: Bool?
          decisions.change { answer = $0.decide(UInt64($0.met)) }
          say(answer, &out)
        }
        try await running(bridge, policy) {
          // Nobody listens there.
          let sender = isInbound ? Sender(to: peer) : Sender(in: "p1", to: host)
          for (round, action) in [Action.permit, .block, .leave, .permit].enumerated() {
            decisions.change { $0.action = action }
            for number in 1...5 {
              sender.send(1)
              try await expectSoon { decisions.value.met == 5 * round + number }
            }
          }
          try await expectSoon {
            try Shell.run("\(told) nft list chain inet w in").contains("packets 15 ")
          }
          #expect(try await bridge.statistics().queues[0].blocked == 5)
        }
        try limitErrors(1000)
      }
    }

    private struct Headers: Sendable, Hashable {
      var source = ""
      var destination = ""
      var transport = IPProtocol.udp
      var port: UInt16 = 0
      var length = 0
      var hops: UInt8 = 0
      var devices: [UInt32] = []
      var addresses: [MACAddress] = []
    }

    private func headers(_ layout: PacketLayout) -> Headers {
      Headers(
        source: "\(layout.sourceAddress)", destination: "\(layout.destinationAddress)",
        transport: layout.transportProtocol, port: layout.destinationPort,
        length: layout.totalLength, hops: layout.timeToLive)
    }

    /// What the layer is to show of a datagram.
    private func expected(at crossing: Crossing) throws -> Headers {
      let (first, second) = (try index(of: "a1"), try index(of: "a2"))
      var headers = Headers(
        source: crossing.source, destination: crossing.destination, port: 7,
        length: 32 + 8 + (crossing.isIPv6 ? 40 : 20), hops: crossing.way == .through ? 63 : 64)
      switch crossing.way {
      case .arriving: headers.devices = [first, 0]
      case .leaving: headers.devices = [0, first]
      case .through: headers.devices = [first, second]
      }
      guard crossing.layer.indicatesFrames else { return headers }
      headers.devices = [first]
      let (host, peer) = (
        MACAddress(rawValue: 0x0200_0000_0101), MACAddress(rawValue: 0x0200_0000_0102)
      )
      headers.addresses = crossing.isInbound ? [host, peer] : [peer, host]
      return headers
    }

    @Test(arguments: Crossing.all)
    func `W2 BASIC_PACKET_EXAMINATION: headers are read, and nothing is decided`(
      _ crossing: Crossing
    ) async throws {
      try await withCrossing(crossing) { bridge, _, _ in
        let read = Shared<[Headers]>([])
        let policy = crossing.policy(
          action: { .calloutInspection($0) },
          sublayers: [Sublayer(name: "inspection", weight: 0xffff)], sublayer: "inspection",
          packets: { packet, out in
            var headers = headers(packet.layout)
            headers.devices = [packet.metadata.inputDevice, packet.metadata.outputDevice]
            read.change { $0.append(headers) }
            out.block()
          }
        ) { frame, out in
          let network = frame.network
          guard let layout = try? PacketLayout(parsing: network) else { return }
          var headers = headers(layout)
          headers.devices = [frame.metadata.interfaceIndex]
          headers.addresses = [frame.layout.destination, frame.layout.source]
          read.change { $0.append(headers) }
          out.block()
        }
        try await running(bridge, policy) {
          let receiver = crossing.receiver()
          crossing.send(count: 20)
          try await expectSoon { receiver.count == 20 && read.value.count == 20 }
          #expect(Set(read.value) == [try expected(at: crossing)])
          #expect(receiver.contents.sequences == Array(0..<20))
        }
      }
    }
  }
}
