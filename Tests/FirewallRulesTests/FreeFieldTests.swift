// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FirewallRules

@Suite struct FreeFieldTests {
  private func uses(_ masks: [UInt32]) -> [MarkUse] {
    masks.map { MarkUse(mask: $0, origin: .nft, rule: "test") }
  }

  @Test(
    arguments: [
      ([], 0x0fff_fff0),
      ([0x4000, 0x8000], 0xffff_0000),
      ([0x4000, 0x8000, 0x00ff_0000], 0x0000_3fff),
      ([0x00ff_0000], 0x0000_ffff),
      ([0xffff_0000], 0x0000_ffff),
      ([0xffff_ff00], 0x0000_00ff),
      ([0x0101_0100], 0x0000_00ff),
      ([0x7000_0000], 0x0fff_fff0),
      ([0xffff_1fff], nil),
      ([0xffff_ffff], nil),
    ] as [([UInt32], UInt32?)])
  func `the widest free run is chosen`(masks: [UInt32], expected: UInt32?) {
    #expect(MarkScan.freeField(in: uses(masks)) == expected)
  }

  @Test func `a run is never wider than asked for, nor narrower`() {
    #expect(MarkScan.freeField(in: [], minimumBits: 4, maximumBits: 4) == 0x0f00_0000)
    #expect(MarkScan.freeField(in: [], minimumBits: 33, maximumBits: 99) == nil)
    #expect(MarkScan.freeField(in: [], minimumBits: 32, maximumBits: 32) == .max)
    #expect(MarkScan.freeField(in: [], minimumBits: -5, maximumBits: -1) == nil)
    #expect(MarkScan.freeField(in: uses([0xffff_ff00]), minimumBits: 9) == nil)
  }

  @Test func `the chosen field never touches a used bit`() {
    var state: UInt64 = 1
    for _ in 0..<2000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let mask = UInt32(truncatingIfNeeded: state >> 32) & UInt32(truncatingIfNeeded: state >> 20)
      guard let field = MarkScan.freeField(in: uses([mask])) else { continue }
      #expect(field & mask == 0)
      let shifted = field >> UInt32(field.trailingZeroBitCount)
      #expect(shifted & (shifted &+ 1) == 0)
      #expect((8...24).contains(field.nonzeroBitCount))
    }
  }

  @Test func `conflicts are packet uses that share bits`() {
    let used = uses([0xff, 0xff00, .max])
    #expect(MarkScan.conflicts(of: 0x0100, in: used).map(\.mask) == [0xff00, .max])
    let connection = MarkUse(mask: .max, subject: .connection, origin: .nft, rule: "test")
    #expect(MarkScan.conflicts(of: 0x0100, in: [connection]).isEmpty)
    #expect(MarkScan.freeField(in: [connection]) == 0x0fff_fff0)
    let error = #expect(throws: RuleError.self) {
      try MarkScan.checkConflicts(of: 0xff, in: used)
    }
    #expect("\(error.map(\.description) ?? "")".contains("0xff by nft: test"))
  }
}
