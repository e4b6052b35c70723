// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct ValueRangesTests {
  func ranges(_ matches: [Condition.Match], upTo limit: UInt128 = 0xffff)
    -> [ClosedRange<UInt128>]?
  {
    ValueRanges(matches.map { Condition(.ipSourcePort, $0) }, upTo: limit)?.ranges
  }

  @Test func `ranges that touch or overlap become one, and stand in order`() {
    #expect(ranges([.range(10, 20), .equal(21), .range(5, 12), .equal(30)]) == [5...21, 30...30])
    #expect(ranges([.equal(9), .equal(7)]) == [7...7, 9...9])
    #expect(ranges([.range(0, .max), .equal(5)], upTo: .max) == [0...(.max)])
    #expect(ranges([]) == [])
    #expect(ranges([.range(9, 8)]) == [])
  }

  @Test func `what lies above the field's largest value is cut off`() {
    #expect(ranges([.range(0xfff0, 0x1_0005), .equal(0x2_0000)]) == [0xfff0...0xffff])
  }

  @Test func `a prefix is one range`() throws {
    let four = try #require(IPPrefix("10.1.0.0/16"))
    #expect(ranges([.prefix(four)], upTo: 0xffff_ffff) == [0x0a01_0000...0x0a01_ffff])
    let all = try #require(IPPrefix("::/0"))
    #expect(ranges([.prefix(all)], upTo: .max) == [0...(.max)])
    let one = try #require(IPPrefix("::1"))
    #expect(ranges([.prefix(one)], upTo: .max) == [1...1])
  }

  @Test func `a mask is as many ranges as it leaves bits free above its lowest, up to a limit`() {
    #expect(ranges([.masked(0x1200, mask: 0xff00)]) == [0x1200...0x12ff])
    #expect(ranges([.masked(0x10, mask: 0xf0)], upTo: 0x1ff) == [0x10...0x1f, 0x110...0x11f])
    #expect(ranges([.masked(1, mask: 1)], upTo: 0x1ff)?.count == 256)
    #expect(ranges([.masked(1, mask: 1)], upTo: 0x3ff) == nil)
    #expect(ranges([.masked(1, mask: 2)]) == [])
    #expect(ranges([.masked(0, mask: 0)]) == [0...0xffff])
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `they accept what the conditions accept`(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    for _ in 0..<200 {
      let matches = (0..<Int.random(in: 1...3, using: &random)).map { _ -> Condition.Match in
        let value = UInt128.random(in: 0...255, using: &random)
        let bits = UInt32.random(in: 0...255, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return .equal(value)
        case 1: return .range(value, UInt128.random(in: value...255, using: &random))
        case 2: return .masked(value & UInt128(bits), mask: UInt128(bits))
        case 3: return .flagsAllSet(bits)
        case 4: return .flagsAnySet(bits)
        default: return .flagsNoneSet(bits)
        }
      }
      let conditions = matches.map { Condition(.ipProtocol, $0) }
      let ranges = try #require(ValueRanges(conditions, upTo: 255))
      let accepted = (0...255 as ClosedRange<UInt128>).filter(ranges.contains)
      #expect(accepted == (0...255).filter { value in conditions.contains { $0.accepts(value) } })
      let others = ranges.complement
      #expect((0...255).allSatisfy { ranges.contains($0) != others.contains($0) })
      for (left, right) in zip(ranges.ranges, ranges.ranges.dropFirst()) {
        #expect(left.upperBound + 1 < right.lowerBound)
      }
      #expect(ranges.acceptsAll == (accepted.count == 256))
    }
  }
}
