// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import FirewallRules
import PacketTagging
import PacketViews
import Testing

@testable import CalloutBridge

@Suite struct KernelFilterTests {
  private let ask = FilterAction.calloutUnknown("asked")

  private func filter(
    _ action: FilterAction, _ conditions: [Condition] = [], layer: Layer = .outboundTransportV4,
    sublayer: String = "default", weight: FilterWeight = .automatic, flags: FilterFlags = []
  ) -> Filter {
    Filter(
      name: "filter", layer: layer, sublayer: sublayer, weight: weight, conditions: conditions,
      action: action, flags: flags)
  }

  private func programs(_ filters: [Filter]) -> [KernelProgram] {
    FilterPolicy(
      sublayers: [Sublayer(name: "high", weight: 0xf000), Sublayer(name: "low", weight: 1)],
      filters: filters
    ).kernelPrograms(markMask: 0xff)
  }

  private func port(_ number: UInt128) -> Condition { Condition(.ipRemotePort, .equal(number)) }

  @Test func `a static filter is decided, a callout's is selected`() throws {
    let program = try #require(
      programs([
        filter(.block, [Condition(.ipProtocol, .equal(6)), port(80)]),
        filter(ask, [Condition(.ipProtocol, .equal(17)), port(53)]),
      ]).first)
    #expect(program.hook == .output && program.family == .ipv4 && program.markMask == 0xff)
    #expect(
      program.selection.map(\.fields) == [
        [.transportProtocol, .icmpType], [.transportProtocol, .destinationPort],
      ])
    #expect(program.selection.last?.elements.map(\.ranges) == [[17...17, 53...53]])
    let element = try #require(program.sublayers.first?.first?.elements.first)
    #expect(element.ranges == [6...6, 80...80] && element.verdict == .block && element.filter == 0)
  }

  @Test func `a port is one of four protocols, an ICMP type of one`() {
    let ports = programs([filter(.block, [port(80)])])
    #expect(
      ports.first?.sublayers.first?.first?.elements.map(\.ranges[0]) == [
        6...6, 17...17, 132...132, 136...136,
      ])
    let types = programs([filter(.block, [Condition(.icmpType, .equal(8))])])
    #expect(types.first?.sublayers.first?.first?.elements.map(\.ranges[0]) == [1...1])
    let never = programs([filter(.block, [Condition(.icmpType, .equal(8)), port(80)])])
    #expect(never.first?.sublayers.isEmpty == true)
  }

  @Test func `sides swap with the layer's direction`() {
    for (layer, field) in [
      (Layer.outboundTransportV4, KernelField.destinationAddress),
      (.inboundTransportV4, .sourceAddress), (.outboundIPPacketV4, .destinationAddress),
      (.inboundIPPacketV4, .sourceAddress),
    ] {
      let programs = programs([
        filter(.block, [Condition(.ipRemoteAddress, .equal(7))], layer: layer)
      ])
      #expect(programs.first?.sublayers.first?.first?.fields == [field], "\(layer)")
    }
  }

  @Test func `what only user space can say is selected as far as it can be said`() {
    let masked = Condition(.ipRemoteAddress, .masked(0, mask: 0x0101_0101))
    let programs = programs([filter(.block, [masked, Condition(.ipProtocol, .equal(6))])])
    #expect(programs.first?.sublayers.isEmpty == true)
    #expect(programs.first?.selection.last?.elements.map(\.ranges) == [[6...6]])
    #expect(self.programs([filter(.block, [masked])]).isEmpty)
  }

  @Test func `a callout that wants everything leaves the kernel nothing`() {
    #expect(programs([filter(.block, [port(80)]), filter(ask)]).isEmpty)
    #expect(programs([filter(.block, [port(80)]), filter(ask, flags: .disabled)]).count == 1)
  }

  @Test func `weight decides between overlapping filters, whatever their shapes`() {
    let maps = programs([
      filter(.block, [port(80)], weight: .explicit(1)),
      filter(.permit, [Condition(.ipRemoteAddress, .equal(7))], weight: .explicit(3)),
      filter(.permit, [port(443)], weight: .explicit(2)),
    ]).first?.sublayers.first
    #expect(
      maps?.map(\.fields) == [[.destinationAddress], [.transportProtocol, .destinationPort]])
    #expect(maps?.last?.elements.map(\.filter) == [2, 2, 2, 2, 0, 0, 0, 0])
  }

  @Test func `a filter that a heavier one covers is left out`() {
    let maps = programs([
      filter(.permit, [Condition(.ipProtocol, .range(0, 20))], weight: .explicit(9)),
      filter(.block, [Condition(.ipProtocol, .range(6, 17))], weight: .explicit(1)),
    ]).first?.sublayers.first
    #expect(maps?.flatMap(\.elements).map(\.filter) == [0])
  }

  @Test func `the loopback flag is the device's, a fragment is never decided`() {
    let loopback = Condition(.flags, .flagsAllSet(ConditionFlags.loopback.rawValue))
    let fragment = Condition(.flags, .flagsAllSet(ConditionFlags.fragment.rawValue))
    let whole = Condition(.flags, .flagsNoneSet(ConditionFlags.fragment.rawValue))
    #expect(
      programs([filter(.block, [loopback])]).first?.sublayers.first?.first?.elements.map(\.ranges)
        == [[1...1]])
    #expect(programs([filter(.block, [fragment])]).first?.sublayers.isEmpty == true)
    #expect(programs([filter(.block, [whole, port(1)])]).first?.sublayers.count == 1)
  }

  @Test func `a layer that is met at two hooks leaves the kernel neither`() {
    let others: [Layer] = [
      .datagramDataV4, .aleAuthConnectV4, .aleAuthRecvAcceptV4, .aleFlowEstablishedV4,
      .aleEndpointClosureV4,
    ]
    for other in others {
      let programs = programs([
        filter(.block, [port(80)]), filter(.block, [port(80)], layer: .inboundTransportV4),
        filter(.block, layer: .ipForwardV4), filter(.block, layer: .outboundTransportV6),
        filter(.block, [port(81)], layer: other),
      ])
      #expect(programs.map(\.hook) == [.forward, .output], "\(other)")
      #expect(programs.map(\.family) == [.ipv4, .ipv6], "\(other)")
    }
  }

  @Test func `the layer of ICMP errors leaves the kernel nothing at its hook`() {
    for (other, left) in [
      (Layer.inboundICMPErrorV4, RuleHook.output), (.outboundICMPErrorV4, .input),
    ] {
      let programs = programs([
        filter(.block), filter(.block, layer: .inboundTransportV4),
        filter(.block, layer: other),
      ])
      #expect(programs.map(\.hook) == [left], "\(other)")
    }
  }

  @Test func `an ICMP error leaves by no transport layer, so the kernel does not decide it there`()
  {
    let programs = programs([
      filter(.block), filter(.block, layer: .inboundTransportV4),
      filter(.block, layer: .outboundTransportV6),
    ])
    let errors = programs.map { $0.selection.flatMap(\.elements).map(\.ranges) }
    #expect(programs.map(\.hook) == [.input, .output, .output])
    #expect(errors == [[], [[1...1, 3...5], [1...1, 11...12]], [[58...58, 0...127]]])
  }

  @Test func `where blocked packets are shown, the kernel blocks none`() {
    let base = filter(.block, [port(80)])
    #expect(programs([base, filter(ask, layer: .outboundTransportV4Discard)]).isEmpty)
    #expect(programs([base, filter(ask, layer: .inboundTransportV4Discard)]).count == 1)
  }

  private func programOfFlows(_ filters: [Filter], packetsPerFlow: UInt32? = 1) -> KernelProgram? {
    var callout = CalloutRegistration(name: "asked") { Callout() }
    callout.packetsPerFlow = packetsPerFlow
    return FilterPolicy(
      sublayers: [Sublayer(name: "high", weight: 0xf000), Sublayer(name: "low", weight: 1)],
      callouts: [callout], filters: filters
    ).kernelPrograms(markMask: 0xff, released: MarkMatch(value: 0x20, mask: 0xf0)).first
  }

  @Test
  func `callouts permit released flows at their places, and are passed over where they inspect`()
    throws
  {
    let program = try #require(
      programOfFlows([
        filter(ask, [port(1)], sublayer: "high"),
        filter(ask, [port(2)], sublayer: "high", flags: .clearActionRight),
        filter(.calloutInspection("asked"), [port(3)], sublayer: "high"),
        filter(.block, sublayer: "low"),
      ]))
    let bypass = try #require(program.bypass)
    #expect(bypass.mark == MarkMatch(value: 0x20, mask: 0xf0) && !program.queuesAll)
    let elements = bypass.sublayers.map { $0.flatMap(\.elements) }
    #expect(elements.map { Set($0.map(\.filter)) } == [[0, 1], [3]])
    #expect(Set(elements[0].filter { $0.filter == 0 }.map(\.verdict)) == [.permit])
    #expect(Set(elements[0].filter { $0.filter == 1 }.map(\.verdict)) == [.permitForGood])
    #expect(bypass.selection.flatMap(\.elements).allSatisfy { $0.filter == -1 })
  }

  @Test func `what only the workers can tell is queued of released flows too`() {
    let masked = Condition(.ipRemoteAddress, .masked(0, mask: 0x0101_0101))
    let program = programOfFlows([
      filter(ask), filter(.block, [masked, Condition(.ipProtocol, .equal(6))]),
      filter(.calloutTerminating("nobody"), [Condition(.ipProtocol, .equal(17))]),
    ])
    #expect(program?.queuesAll == true)
    let selected = program?.bypass?.selection.flatMap(\.elements).map(\.filter)
    #expect(selected.map(Set.init) == [-1, 1, 2])
    #expect(programOfFlows([filter(ask), filter(.block, [masked])]) == nil)
  }

  @Test func `where no callout is asked or none releases flows there is no bypass`() {
    #expect(programOfFlows([filter(.block, [port(80)])])?.bypass == nil)
    #expect(
      programOfFlows([filter(.block), filter(ask, [port(1)])], packetsPerFlow: nil)?.bypass == nil)
    #expect(programOfFlows([filter(ask)], packetsPerFlow: nil) == nil)
    #expect(programOfFlows([filter(ask), filter(.permit, layer: .aleAuthConnectV4)]) == nil)
  }
}
