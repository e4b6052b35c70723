// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct ExplanationTests {
  func explain(
    _ filters: [Filter], _ callouts: [String] = [], _ bytes: [UInt8] = Make.ipv4(17)
  ) throws -> Explanation {
    let policy = try CompiledPolicy(
      FilterPolicy(
        sublayers: ArbitrationTests.bands,
        callouts: callouts.map { CalloutRegistration(name: $0) { Callout() } }, filters: filters))
    let span = bytes.span.packetBytes
    let layout = try PacketLayout(parsing: span)
    let packet = ClassifiedPacket(
      bytes: span, layout: layout, layer: .inboundIPPacketV4, metadata: PacketMetadata())
    return policy.explain(packet)
  }

  @Test func `the filters that match stand in the order in which they are met`() throws {
    let other = Condition(.ipDestinationPort, .equal(54))
    let found = try explain([
      filter(.block, sublayer: "low"), filter(.permit, sublayer: "high", weight: .explicit(1)),
      filter(.permit, [other], sublayer: "high", weight: .explicit(9)),
      filter(.permit, sublayer: "high", weight: .explicit(2)),
    ])
    #expect(found.steps.map(\.filter) == [3, 0])
    #expect(found.isPermitted == false && found.filter == 0)
    #expect(found.steps.map(\.wasFinal) == [false, false])
  }

  @Test func `nothing that matches permits`() throws {
    let found = try explain([filter(.block, [Condition(.ipProtocol, .equal(6))])])
    #expect(found == Explanation(steps: [], isPermitted: true, filter: nil))
  }

  @Test func `a callout's answers are told with what comes of each`() throws {
    let found = try explain(
      [
        filter(.calloutUnknown("a"), weight: .explicit(2)), filter(.block, weight: .explicit(1)),
      ], ["a"])
    #expect(found.steps.map(\.filter) == [0, 1])
    #expect(found.steps[0].outcomes.map(\.answer) == [.permit, .block, .continue])
    #expect(found.steps[0].outcomes.map(\.isPermitted) == [true, false, false])
    #expect(found.isPermitted == nil && found.filter == 1)
  }

  @Test func `a hard permit yields to callouts only, and says so`() throws {
    var hard = filter(.permit, sublayer: "high")
    hard.flags = .clearActionRight
    let plain = try explain([hard, filter(.block, sublayer: "low")])
    #expect(plain.isPermitted == true && plain.steps.map(\.wasFinal) == [false, true])
    let asked = try explain([hard, filter(.calloutTerminating("a"), sublayer: "low")], ["a"])
    #expect(asked.isPermitted == nil)
    #expect(asked.steps[1].outcomes.map(\.isPermitted) == [true, false])
  }

  @Test func `what no callout can change is told`() throws {
    let found = try explain(
      [
        filter(.block, sublayer: "high"), filter(.calloutTerminating("a"), sublayer: "middle"),
        filter(.calloutInspection("a"), sublayer: "low"),
      ], ["a"])
    #expect(found.isPermitted == false && found.filter == 0)
    #expect(found.steps.map(\.outcomes.count) == [0, 2, 0])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `what is told comes true when the callouts answer so`(seed: UInt64) throws {
    var world = RandomWorld(random: SeededGenerator(state: seed))
    var fixed = 0
    for _ in 0..<200 {
      var filters = FilterIndexTests.filters(&world, 4, at: .inboundIPPacketV4)
      filters = filters.map { filter in
        var filter = filter
        filter.conditions = Array(filter.conditions.prefix(1))
        return filter
      }
      let bytes = world.packet()
      let bench = Bench()
      try bench.adopt(
        filters, sublayers: FilterIndexTests.sublayers,
        FilterIndexTests.callouts.map { name in
          (name, { _, out in ArbitrationTests.say(name, &out) })
        })
      let policy = try #require(bench.policy)
      let found = try bench.decide(bytes).text
      let span = bytes.span.packetBytes
      let layout = try PacketLayout(parsing: span)
      let packet = ClassifiedPacket(
        bytes: span, layout: layout, layer: .inboundIPPacketV4, metadata: PacketMetadata())
      let told = policy.explain(packet).isPermitted
      guard let told else { continue }
      // A terminating callout that continues blocks, which is not among the answers.
      guard !filters.contains(where: { $0.action == .calloutTerminating("continue") }) else {
        continue
      }
      fixed += 1
      #expect(told == (found == "permit"), "\(filters)")
    }
    #expect(fixed > 30)
  }
}
