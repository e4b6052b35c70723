// SPDX-License-Identifier: Apache-2.0

import Kernel
import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct FilterIndexTests {
  static let sublayers = [Sublayer(name: "a", weight: 1), Sublayer(name: "b", weight: 0x8000)]
  static let callouts = ["permit", "block", "continue"]

  /// Random filters, some of which ask callouts.
  static func filters(_ world: inout RandomWorld, _ count: Int, at layer: Layer) -> [Filter] {
    var filters: [Filter] = []
    while filters.count < count { filters += world.filters(at: layer, ["default", "a", "b"]) }
    let actions: [FilterAction] = [
      .permit, .block, .permit, .calloutTerminating("permit"), .calloutTerminating("continue"),
      .calloutInspection("block"), .calloutUnknown("continue"), .calloutUnknown("block"),
    ]
    for number in filters.indices {
      filters[number].action = world.pick(actions)
      let field = filters[number].conditions.first?.field
      if let field, case .integer(16) = field.valueType {
        let more = (0..<world.pick([0, 0, 9])).map { Condition(field, .equal(50 + 2 * $0)) }
        filters[number].conditions += more
      }
    }
    return filters
  }

  func adopt(_ bench: Bench, _ filters: [Filter], fewFilters: Int) throws {
    try bench.adopt(
      filters, sublayers: Self.sublayers,
      Self.callouts.map { name in
        (name, { _, out in ArbitrationTests.say(name, &out) })
      })
    let policy = try #require(bench.policy?.policy)
    bench.policy = try CompiledPolicy(policy, fewFilters: fewFilters)
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func `an index finds what trying each filter finds, in the same order`(seed: UInt64) throws {
    let (slow, fast) = (Bench(), Bench())
    var world = RandomWorld(random: SeededGenerator(state: seed))
    var matched: UInt64 = 0
    for count in [1, 2, 10, 40, 100, 400] {
      for _ in 0..<12 {
        let layer = world.pick(Layer.allCases.filter { $0.hook != nil && !$0.isIPv6 })
        let filters = Self.filters(&world, count, at: layer)
        try adopt(slow, filters, fewFilters: .max)
        try adopt(fast, filters, fewFilters: 0)
        for _ in 0..<20 {
          let (bytes, metadata) = (world.packet(), world.metadata())
          let expected = try slow.decide(bytes, at: layer, metadata: metadata)
          let found = try fast.decide(bytes, at: layer, metadata: metadata)
          let isSame =
            expected.text == found.text && expected.filter == found.filter
            && expected.callout == found.callout && slow.hits == fast.hits
          if !isSame { Issue.record("\(filters) \(bytes): \(found), expected \(expected)") }
        }
        matched += slow.hits.reduce(0, +)
      }
    }
    #expect(matched > 3000)
  }

  @Test func `many filters on one field lead to short lists`() throws {
    let filters = (0..<5000).map { number in
      filter(.block, [Condition(.ipSourceAddress, .equal(UInt128(number)))])
    }
    let policy = try CompiledPolicy(FilterPolicy(filters: filters))
    let layer = policy.layers[Int(Layer.inboundIPPacketV4.rawValue)]
    #expect(policy.index.nodes[layer.node].mostLists == 1)
    #expect(policy.index.lists.allSatisfy { $0.end - $0.first == 1 })
  }

  @Test func `filters that one field tells apart badly are told apart by two`() throws {
    var filters: [Filter] = []
    for port in 0..<60 as Range<UInt128> {
      for address in 0..<60 as Range<UInt128> {
        filters.append(
          filter(
            .block,
            [
              Condition(.ipSourcePort, .equal(port)), Condition(.ipSourceAddress, .equal(address)),
            ]))
      }
    }
    let policy = try CompiledPolicy(FilterPolicy(filters: filters))
    let lengths = policy.index.lists.filter { $0.node < 0 }.map { $0.end - $0.first }
    #expect(lengths.max() == 1)
  }

  @Test func `wide ranges take memory in proportion to their number`() throws {
    var random = SeededGenerator(state: 5)
    let filters = (0..<4000).map { _ in
      let conditions = [Field.ipSourcePort, .ipDestinationPort].map { field in
        let low = UInt128.random(in: 0...40000, using: &random)
        return Condition(field, .range(low, low + .random(in: 0...20000, using: &random)))
      }
      return filter(.block, conditions)
    }
    let policy = try CompiledPolicy(FilterPolicy(filters: filters))
    #expect(policy.index.entries.count < 64 * filters.count)
  }

  @Test func `a condition with many values is one of the set`() throws {
    let bench = Bench()
    let odd = (0..<30_000).map { Condition(.ipDestinationPort, .equal(UInt128(2 * $0 + 1))) }
    for fewFilters in [0, .max] {
      try adopt(bench, [filter(.block, odd)], fewFilters: fewFilters)
      for (port, expected) in [
        (1, "block"), (53, "block"), (54, "permit"), (59_999, "block"), (60_001, "permit"),
      ] {
        #expect(try bench.decide(Make.ipv4(17, target: port)).text == expected, "\(port)")
      }
    }
    #expect(bench.policy?.conditions.count == 1)
  }

  @Test func `each layer's filters are found by their own fields`() throws {
    let bench = Bench()
    let layers = [Layer.inboundIPPacketV4, .outboundTransportV4]
    var filters: [Filter] = []
    for number in 0..<40 as Range<UInt128> {
      filters.append(filter(.block, [Condition(.ipDestinationPort, .equal(number))]))
      filters.append(
        filter(
          .block, [Condition(.ipSourcePort, .equal(number + 100))], layer: .outboundTransportV4))
    }
    try bench.adopt(filters)
    for (layer, bytes, expected) in [
      (layers[0], Make.ipv4(17, source: 139, target: 39), 78),
      (layers[1], Make.ipv4(17, source: 139, target: 39), 79),
      (layers[0], Make.ipv4(17, source: 139, target: 40), -1),
    ] as [(Layer, [UInt8], Int32)] {
      #expect(try bench.decide(bytes, at: layer).filter == expected)
    }
  }
}
