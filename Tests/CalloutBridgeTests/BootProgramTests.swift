// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import FirewallRules
import PacketTagging
import PacketViews
import Testing

@testable import CalloutBridge

@Suite struct BootProgramTests {
  private func filter(
    _ action: FilterAction, _ conditions: [Condition] = [], layer: Layer = .outboundTransportV4,
    sublayer: String = "default", weight: FilterWeight = .automatic, flags: FilterFlags = []
  ) -> Filter {
    Filter(
      name: "filter", layer: layer, sublayer: sublayer, weight: weight, conditions: conditions,
      action: action, flags: flags.union(.bootTime))
  }

  private func programs(_ filters: [Filter]) throws(BootFilterError) -> [KernelProgram] {
    try FilterPolicy(
      sublayers: [Sublayer(name: "high", weight: 0xf000), Sublayer(name: "low", weight: 1)],
      filters: filters
    ).bootPrograms()
  }

  private func problems(_ filter: Filter) -> [BootFilterError] { filter.bootTimeProblems }

  private func port(_ number: UInt128) -> Condition { Condition(.ipRemotePort, .equal(number)) }

  @Test func `all is decided and nothing queued, whatever the packet's mark and headers`() throws {
    let programs = try programs([
      filter(.permit, [port(53)], sublayer: "high"), filter(.block, sublayer: "low"),
      filter(.block, layer: .inboundIPPacketV6), filter(.block, [port(1)], flags: .disabled),
    ])
    #expect(programs.map(\.hook) == [.prerouting, .output])
    #expect(programs.map(\.family) == [.ipv6, .ipv4])
    for program in programs {
      #expect(program.queuesNothing && program.selection.isEmpty && program.bypass == nil)
    }
    let text = try BootRules(besides: "callout").text(programs)
    #expect(text.contains("table inet callout_boot {"))
    #expect(!text.contains("queue") && !text.contains("frag-off") && !text.contains("nexthdr"))
    #expect(text.contains("drop") && text.contains("return"))
  }

  @Test func `ICMP errors leave by no transport layer, so its filters pass them by`() throws {
    let out = try programs([filter(.block)]).first?.sublayers ?? []
    #expect(out.count == 2)
    #expect(out.first?.flatMap(\.elements).map(\.ranges) == [[1...1, 3...5], [1...1, 11...12]])
    #expect(out.first?.flatMap(\.elements).allSatisfy { $0.verdict == .permitForGood } == true)
    #expect(try programs([filter(.block, layer: .inboundTransportV4)]).first?.sublayers.count == 1)
  }

  @Test func `what the kernel cannot decide alone is refused`() {
    let fragment = ConditionFlags.fragment.rawValue
    let loopback = ConditionFlags.loopback.rawValue
    #expect(problems(filter(.calloutUnknown("c"))) == [.asksCallout(filter: "filter")])
    for layer in [
      Layer.datagramDataV4, .aleAuthConnectV4, .outboundICMPErrorV4, .inboundMACFrameEthernet,
      .outboundTransportV4Discard, .ingressVSwitchEthernet,
    ] {
      #expect(
        problems(filter(.block, layer: layer)) == [.layerNotServed(filter: "filter", layer: layer)])
    }
    let conditions: [Condition] = [
      Condition(.userID, .equal(0)), Condition(.flags, .flagsAllSet(fragment)),
      Condition(.flags, .flagsNoneSet(fragment)),
      Condition(.flags, .flagsAnySet(loopback | fragment)),
      Condition(.ipRemoteAddress, .masked(0, mask: 0x0101_0101)),
    ]
    for condition in conditions {
      #expect(
        problems(filter(.block, [condition, port(1)]))
          == [.conditionNotServed(filter: "filter", condition.field)])
    }
    #expect(problems(filter(.block, flags: .persistent)) == [.persistent(filter: "filter")])
    #expect(problems(filter(.block, [Condition(.flags, .flagsAllSet(loopback)), port(1)])).isEmpty)
    let all = filter(
      .block,
      [
        Condition(.ipLocalAddress, .equal(1)), Condition(.ipRemoteAddress, .equal(1)),
        Condition(.ipProtocol, .equal(6)), port(1), Condition(.ipLocalPort, .equal(1)),
        Condition(.interfaceIndex, .equal(1)),
      ])
    #expect(problems(all) == [.tooMuch(layer: .outboundTransportV4)])
    #expect(throws: BootFilterError.self) { try programs([all]) }
  }

  @Test func `a layer whose filters come to too many maps is refused`() {
    let hard = (0..<12).map { number in
      filter(
        .permit, [port(UInt128(number))], sublayer: "s\(number)", flags: .clearActionRight)
    }
    let policy = FilterPolicy(
      sublayers: (0..<12).map { Sublayer(name: "s\($0)", weight: $0) }, filters: hard)
    #expect(throws: BootFilterError.tooMuch(layer: .outboundTransportV4)) {
      try policy.bootPrograms()
    }
  }

  @Test func `a table's name must leave room`() throws {
    #expect(try BootRules(besides: "abcdefghijk").table == "abcdefghijk_boot")
    #expect(throws: RuleError.self) { try BootRules(besides: "abcdefghijkl") }
  }
}
