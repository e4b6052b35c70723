// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct LayerWalkTests {
  private func met(_ hook: Hook, _ traits: PacketTraits, isIPv6: Bool = false) -> [String] {
    LayerStep.all(at: hook, isIPv6: isIPv6).filter { $0.isMet(by: traits) }.map(\.layer.name)
  }

  @Test func `a packet meets the layers of its hook in WFP's order`() {
    #expect(met(.prerouting, .datagram) == ["inbound-ippacket-v4"])
    #expect(met(.forward, .icmpError, isIPv6: true) == ["ipforward-v6"])
    #expect(met(.postrouting, []) == ["outbound-ippacket-v4"])
    #expect(met(.input, []) == ["inbound-transport-v4"])
    #expect(met(.input, .icmpError) == ["inbound-transport-v4", "inbound-icmp-error-v4"])
    #expect(
      met(.input, [.datagram, .firstOfFlow]) == [
        "inbound-transport-v4", "ale-auth-recv-accept-v4", "datagram-data-v4",
      ])
    #expect(
      met(.output, [.datagram, .firstOfFlow], isIPv6: true) == [
        "ale-auth-connect-v6", "datagram-data-v6", "outbound-transport-v6",
      ])
    #expect(met(.output, .icmpError) == ["outbound-icmp-error-v4"])
    #expect(met(.output, []) == ["outbound-transport-v4"])
  }

  @Test func `a policy without further layers has nothing to walk`() throws {
    func walks(_ layers: [Layer]) throws -> LayerWalks {
      try CompiledPolicy(
        FilterPolicy(filters: layers.map { Filter(name: "f", layer: $0, action: .permit) })
      ).walks
    }
    let plain = try walks([.inboundTransportV4, .outboundTransportV4, .outboundIPPacketV6])
    for hook in Hook.allCases {
      for isIPv6 in [false, true] {
        #expect(!plain.several.contains(hook.rawValue, isIPv6: isIPv6))
      }
    }
    let several = try walks([.inboundTransportV6, .datagramDataV6])
    for hook in [Hook.input, .output] {
      #expect(several.several.contains(hook.rawValue, isIPv6: true))
    }
    #expect(!several.several.contains(Hook.input.rawValue, isIPv6: false))
    #expect(!several.several.contains(Hook.forward.rawValue, isIPv6: true))
    let positions = several.positions(.input, isIPv6: true)
    #expect(positions.map { several[$0].layer } == [.inboundTransportV6, .datagramDataV6])
    #expect(several.positions(.output, isIPv6: false).isEmpty)
  }

  @Test func `headers tell which layers a packet meets`() throws {
    func traits(_ bytes: [UInt8]) throws -> PacketTraits {
      PacketTraits(try PacketLayout(parsing: bytes.span.bytes))
    }
    #expect(try traits(Make.ipv4(6)) == [])
    #expect(try traits(Make.ipv4(17)) == .datagram)
    #expect(try traits(Make.ipv4(1, source: 8, target: 0)) == .datagram)
    #expect(try traits(Make.ipv4(1, source: 3, target: 3)) == .icmpError)
    #expect(try traits(Make.ipv4(1, source: 11, target: 0)) == .icmpError)
    let (one, two) = (Make.address(1 << 48, 1), Make.address(1 << 48, 2))
    #expect(try traits(Make.ipv6(58, from: one, to: two, source: 1, target: 4)) == .icmpError)
    #expect(try traits(Make.ipv6(58, from: one, to: two, source: 128, target: 0)) == .datagram)
    #expect(try traits(Make.ipv6(6, from: one, to: two)) == [])
  }

  private func decision(_ outcome: Decision.Outcome, filter: Int32 = 0) -> Decision {
    var decision = Decision()
    (decision.outcome, decision.filter) = (outcome, filter)
    return decision
  }

  private func text(_ decisions: [Decision]) -> String {
    var result = Decision()
    for next in decisions {
      _ = result.follow(next)
      if result.endsPacket { break }
    }
    return "\(result.outcome) \(result.filter)"
  }

  @Test func `the first block of a layer ends the packet`() {
    #expect(text([decision(.permit), decision(.block, filter: 1)]) == "block 1")
    #expect(
      text([decision(.absorb, filter: 3), decision(.block, filter: 4)]) == "absorb 3")
    #expect(text([decision(.block, filter: 1), decision(.permit, filter: 2)]) == "block 1")
    #expect(
      text([decision(.pend(deadline: 5)), decision(.block, filter: 2)]) == "block 2")
    #expect(text([]) == "permit -1")
    #expect(text([decision(.permit, filter: 7), decision(.permit, filter: 8)]) == "permit 7")
  }

  @Test func `a delay of one layer stands if no later one blocks`() {
    let (pend, hold) = (
      Decision.Outcome.pend(deadline: 5), Decision.Outcome.hold(until: 9, permits: true)
    )
    let refusal = Decision.Outcome.hold(until: 9, permits: false)
    #expect(text([decision(pend), decision(.permit, filter: 2)]) == "\(pend) 0")
    #expect(text([decision(hold), decision(pend, filter: 1)]) == "\(pend) 1")
    #expect(text([decision(pend), decision(hold, filter: 1)]) == "\(pend) 0")
    #expect(text([decision(.repeat), decision(.requeue(7), filter: 1)]) == "repeat 0")
    #expect(text([decision(.requeue(7)), decision(hold, filter: 1)]) == "\(hold) 1")
    #expect(text([decision(refusal), decision(pend, filter: 1)]) == "\(refusal) 0")
  }
}
