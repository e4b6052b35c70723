// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Testing

@testable import CalloutEngine

@Suite struct ArbitrationTests {
  let bench = Bench()
  static let bands = [
    Sublayer(name: "high", weight: 300), Sublayer(name: "middle", weight: 200),
    Sublayer(name: "low", weight: 100),
  ]

  /// The decision over the answers of three sublayers; a filter's answer has a capital.
  ///
  /// `!` behind an answer clears the right to write.
  func outcome(_ answers: [String]) throws -> String {
    var filters: [Filter] = []
    var scripts: [(String, (borrowing ClassifiedPacket, inout Classification) -> Void)] = []
    for (answer, band) in zip(answers, ["high", "middle", "low"]) {
      switch answer {
      case "Permit": filters.append(filter(.permit, sublayer: band))
      case "Block": filters.append(filter(.block, sublayer: band))
      case "": break
      default:
        scripts.append((band, { _, out in Self.say(answer, &out) }))
        filters.append(filter(.calloutTerminating(band), sublayer: band))
      }
    }
    try bench.adopt(filters.shuffled(), sublayers: Self.bands, scripts)
    return try bench.decide().text
  }

  static func say(_ answer: String, _ out: inout Classification) {
    if answer.hasSuffix("!") { out.clearWriteRight() }
    switch answer.prefix(while: { $0 != "!" }) {
    case "permit": out.permit()
    case "block": out.block()
    case "absorb": out.absorb()
    case "repeat": out.repeat()
    case "continue": out.continue()
    case "pend": out.pend()
    case "hold": out.hold(for: .nanoseconds(7), thenPermit: true)
    case "requeue": try? out.requeue(to: 31001)
    default: break
    }
  }

  @Test(
    arguments: [
      ([], "permit"), (["Permit"], "permit"), (["Block"], "block"),
      // A permit is soft, whoever gives it.
      (["Permit", "Block"], "block"), (["permit", "Block"], "block"),
      (["Permit", "block"], "block"),
      // A filter's block is hard, a callout's is soft.
      (["Block", "Permit"], "block"), (["Block", "permit!"], "block"),
      (["block", "Permit"], "permit"),
      (["block", "", "permit"], "permit"), (["absorb", "permit"], "permit"),
      (["block", "Block"], "block"), (["absorb", "", "continue"], "block"),
      // Clearing the right makes it hard.
      (["block!", "Permit"], "block"), (["absorb!", "permit"], "absorb"),
      (["permit!", "Block"], "permit"), (["permit!", "", "repeat"], "permit"),
      // A veto blocks what was hard.
      (["permit!", "block"], "block"), (["permit!", "absorb"], "absorb"),
      (["permit!", "block", "permit"], "block"),
      // A terminating callout that says nothing blocks.
      (["continue"], "block"), (["nothing"], "block"), (["continue", "Permit"], "permit"),
      // Other answers stand until something blocks.
      (["pend"], "pend(deadline: 1005000)"), (["hold"], "hold(until: 1000007, permits: true)"),
      (["pend", "Permit"], "pend(deadline: 1005000)"), (["repeat", "permit", "Permit"], "repeat"),
      (["requeue", "Permit"], "requeue(31001)"), (["Permit", "pend"], "pend(deadline: 1005000)"),
      (["pend", "Block"], "block"), (["pend", "block"], "block"),
      (["pend!", "Block"], "pend(deadline: 1005000)"),
      (["pend!", "block"], "block"), (["block", "pend"], "pend(deadline: 1005000)"),
      (["pend", "block", "Permit"], "pend(deadline: 1005000)"),
      (["requeue", "absorb", "permit"], "requeue(31001)"),
      (["pend", "block!", "Permit"], "block"),
    ] as [([String], String)])
  func `the sublayers' answers combine`(answers: [String], expected: String) throws {
    #expect(try outcome(answers) == expected)
  }

  @Test func `the longest deadline is an hour, however long the policy's is`() throws {
    let bench = Bench(pendDeadline: .max)
    try bench.adopt([filter(.calloutTerminating("late"))], [("late", { _, out in out.pend() })])
    #expect(try bench.decide().text == "pend(deadline: 3600001000000)")
  }

  @Test func `every sublayer is asked, so inspection sees what was blocked`() throws {
    var seen: [Bool] = []
    try bench.adopt(
      [
        filter(.block, sublayer: "high"), filter(.calloutInspection("look"), sublayer: "middle"),
        filter(.calloutTerminating("late"), sublayer: "low"),
      ], sublayers: Self.bands,
      [
        ("look", { _, out in seen.append(out.canWrite) }),
        (
          "late",
          { _, out in
            seen.append(out.canWrite); out.permit()
          }
        ),
      ])
    #expect(try bench.decide().text == "block")
    #expect(seen == [false, false])
    #expect(bench.hits == [1, 1, 1])
  }

  @Test func `an inspection's answer is not asked and does not end its sublayer`() throws {
    try bench.adopt(
      [
        filter(.calloutInspection("look"), weight: .explicit(9)),
        filter(.permit, weight: .explicit(1)),
      ],
      [
        (
          "look",
          { _, out in
            out.block(); out.clearWriteRight()
          }
        )
      ])
    #expect(try bench.decide().text == "permit")
    #expect(bench.hits == [1, 1])
  }

  @Test func `an unknown callout that continues leaves the decision to the next filter`() throws {
    for (answer, expected) in [("continue", "block"), ("nothing", "block"), ("permit", "permit")] {
      try bench.adopt(
        [
          filter(.calloutUnknown("c"), weight: .explicit(9)), filter(.block, weight: .explicit(1)),
        ], [("c", { _, out in Self.say(answer, &out) })])
      #expect(try bench.decide().text == expected)
    }
  }

  @Test func `the last answer counts, and a refused requeue leaves the one before`() throws {
    try bench.adopt(
      [filter(.calloutTerminating("c"))],
      [
        (
          "c",
          { _, out in
            out.permit(); out.block(); out.permit(); try? out.requeue(to: 31002)
          }
        )
      ])
    #expect(try bench.decide().text == "permit")
  }

  @Test func `a requeue to a queue that nobody has bound is refused`() throws {
    var thrown: RequeueError?
    try bench.adopt(
      [filter(.calloutTerminating("c"))],
      [
        (
          "c",
          { _, out in
            do { try out.requeue(to: 31002) } catch { thrown = error as? RequeueError }
          }
        )
      ])
    #expect(try bench.decide().text == "block")
    #expect(thrown == .notBound(queue: 31002))
  }

  @Test func `in a sublayer the heaviest matching filter decides, equal ones in policy order`()
    throws
  {
    try bench.adopt([
      filter(.permit, weight: .explicit(5)), filter(.block, weight: .explicit(6)),
      filter(.permit, weight: .explicit(6)),
    ])
    let decision = try bench.decide()
    #expect(decision.text == "block" && decision.filter == 1)
    #expect(bench.hits == [0, 1, 0])
  }

  @Test func `automatic weights grow with what the conditions fix`() {
    let all = filter(.permit)
    let port = filter(.permit, [Condition(.ipSourcePort, .equal(53))])
    let range = filter(.permit, [Condition(.ipSourcePort, .range(1, 53))])
    let both = filter(
      .permit, [Condition(.ipSourcePort, .equal(53)), Condition(.ipProtocol, .equal(17))])
    let order = [all, range, port, both].map(\.effectiveWeight)
    #expect(order == order.sorted() && Set(order).count == 4)
    var banded = all
    banded.weight = .range(15)
    #expect(banded.effectiveWeight == 15 << 60)
    banded.weight = .range(1)
    #expect(banded.effectiveWeight > both.effectiveWeight)
    #expect(filter(.permit, weight: .explicit(.max)).effectiveWeight == .max)
  }

  @Test func `a callout learns each packet's rights anew`() throws {
    var rights: [Bool] = []
    try bench.adopt(
      [
        filter(.calloutTerminating("a"), sublayer: "high"),
        filter(.calloutTerminating("b"), sublayer: "low"),
      ], sublayers: Self.bands,
      [
        (
          "a",
          { _, out in
            rights.append(out.canWrite); out.permit(); out.clearWriteRight()
          }
        ),
        (
          "b",
          { _, out in
            rights.append(out.canWrite); out.permit()
          }
        ),
      ])
    for _ in 0..<2 { #expect(try bench.decide().text == "permit") }
    #expect(rights == [true, false, true, false])
  }

  @Test func `pend takes the policy's deadline unless it is given one, an hour at most`() throws {
    for (time, expected) in [
      (.nanoseconds(9), 1_000_009), (.seconds(-1), 1_000_000), (.seconds(9999), 3_600_001_000_000),
    ] as [(Duration, UInt64)] {
      try bench.adopt(
        [filter(.calloutTerminating("c"))], [("c", { _, out in out.pend(deadline: time) })])
      #expect(try bench.decide().text == "pend(deadline: \(expected))")
    }
  }
}
