// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Testing

@testable import CalloutEngine

/// The rows of WFP's arbitration, on filters and callouts that a packet meets in sublayer order.
@Suite struct ArbitrationRowTests {
  let bench = Bench()

  /// What a higher sublayer says, a lower one, and what WFP makes of both.
  struct Pair: CustomStringConvertible {
    var higher: String
    var lower: String
    var outcome: String
    var description: String { "\(higher) over \(lower)" }
  }

  /// A callout's answers; `!` makes one hard.
  static let answers = ["permit", "permit!", "block", "block!"]

  static let pairs = answers.flatMap { higher in
    answers.map { lower -> Pair in
      let outcome: String
      switch higher {
      case "block!": outcome = "block"
      case "block", "permit": outcome = lower.hasPrefix("block") ? "block" : "permit"
      // Even a soft block of a callout is a veto where the right to write is gone.
      default: outcome = lower.hasPrefix("block") ? "block" : "permit"
      }
      return Pair(higher: higher, lower: lower, outcome: outcome)
    }
  }

  @Test(arguments: pairs)
  func `F56: sixteen combinations of soft and hard permits and blocks`(pair: Pair) throws {
    let found = try ArbitrationTests().outcome([pair.higher, pair.lower])
    #expect(found == pair.outcome, "\(pair)")
  }

  @Test func `F51: a block names the filter that dropped the packet`() throws {
    try bench.adopt(
      [
        filter(.permit, [Condition(.ipDestinationPort, .equal(54))]),
        filter(.permit, sublayer: "low"),
        filter(.block, [Condition(.ipDestinationPort, .equal(53))]),
      ], sublayers: [Sublayer(name: "low", weight: 1)])
    let decision = try bench.decide()
    #expect(decision.text == "block" && decision.filter == 2)
  }

  @Test func `F52: an absorbed packet is told apart from a blocked one`() throws {
    try bench.adopt([filter(.calloutTerminating("c"))], [("c", { _, out in out.absorb() })])
    #expect(try bench.decide().text == "absorb")
  }

  @Test func `F53: permit ends the sublayer, continue does not`() throws {
    for (answer, hits) in [("permit", [1, 0]), ("continue", [1, 1])] as [(String, [UInt64])] {
      try bench.adopt(
        [
          filter(.calloutUnknown("c"), weight: .explicit(2)), filter(.block, weight: .explicit(1)),
        ], [("c", { _, out in ArbitrationTests.say(answer, &out) })])
      #expect(try bench.decide().text == (answer == "permit" ? "permit" : "block"))
      #expect(bench.hits == hits)
    }
  }

  @Test func `F54: sublayers are evaluated by weight, and filters in them`() throws {
    var order: [String] = []
    let places = [("low", 9), ("high", 1), ("middle", 5), ("high", 7)]
    let names = ["low", "high 1", "middle", "high 7"]
    var filters: [Filter] = []
    for (name, place) in zip(names, places) {
      filters.append(
        filter(
          .calloutInspection(name), sublayer: place.0, weight: .explicit(UInt64(place.1))))
    }
    try bench.adopt(
      filters, sublayers: ArbitrationTests.bands,
      names.map { name in
        (name, { _, _ in order.append(name) })
      })
    _ = try bench.decide()
    #expect(order == ["high 7", "high 1", "middle", "low"])
  }

  @Test func `F55: the lowest sublayer's inspection sees what was blocked`() throws {
    var count = 0
    try bench.adopt(
      [
        filter(.block, sublayer: "high"), filter(.calloutInspection("count"), sublayer: "low"),
      ], sublayers: ArbitrationTests.bands, [("count", { _, _ in count += 1 })])
    for _ in 0..<5 { #expect(try bench.decide().text == "block") }
    #expect(count == 5)
  }

  @Test func `F57: a hard permit passes a filter's block and yields to a callout's veto`() throws {
    let (run, vetoes) = (
      ArbitrationTests(), { (run: ArbitrationTests) in run.bench.out.events.vetoes }
    )
    #expect(try run.outcome(["permit!", "Block"]) == "permit")
    #expect(vetoes(run) == 0)
    #expect(try run.outcome(["permit!", "block"]) == "block")
    #expect(vetoes(run) == 1)
    #expect(try run.outcome(["permit!", "absorb"]) == "absorb")
    #expect(vetoes(run) == 2)
    #expect(try run.outcome(["permit", "block"]) == "block")
    #expect(vetoes(run) == 2)
  }

  @Test func `F58: a terminating callout that gives no answer blocks`() throws {
    for (answer, expected) in [
      ("continue", "block"), ("nothing", "block"), ("permit", "permit"), ("block", "block"),
    ] {
      #expect(try ArbitrationTests().outcome([answer]) == expected)
    }
  }

  @Test func `F59: an inspection's answer changes nothing`() throws {
    for answer in ["block", "block!", "absorb", "permit!", "pend", "repeat"] {
      try bench.adopt(
        [
          filter(.calloutInspection("look"), sublayer: "high"), filter(.permit, sublayer: "low"),
        ], sublayers: ArbitrationTests.bands,
        [("look", { _, out in ArbitrationTests.say(answer, &out) })])
      let decision = try bench.decide()
      #expect(decision.text == "permit" && decision.filter == 1)
    }
  }
}
