// SPDX-License-Identifier: Apache-2.0

package import PacketTagging
package import PacketViews

/// The values of one field that its or-ed conditions accept: closed ranges in ascending order, with
/// at least one value between any two.
package struct ValueRanges: Sendable, Hashable {
  /// The ranges; none if no value is accepted.
  package private(set) var ranges: [ClosedRange<UInt128>]
  /// The largest value that the field can have.
  package let limit: UInt128

  /// How many ranges a mask may come to if nobody says otherwise; more can only be said by a test of
  /// the mask.
  package static let mostOfMask = 256

  /// What the conditions, all on one field, accept together; nil if only a mask test can say it.
  package init?(
    _ conditions: some Sequence<Condition>, upTo limit: UInt128, mostOfMask: Int = mostOfMask
  ) {
    var all: [ClosedRange<UInt128>] = []
    for condition in conditions {
      guard let part = ValueRanges(condition.match, upTo: limit, mostOfMask) else { return nil }
      all += part.ranges
    }
    self.init(joining: all, upTo: limit)
  }

  /// What one match accepts; nil if only a mask test can say it.
  package init?(
    _ match: Condition.Match, upTo limit: UInt128, _ mostOfMask: Int = mostOfMask
  ) {
    switch match {
    case .equal(let value): self.init(joining: [value...value], upTo: limit)
    case .range(let low, let high):
      self.init(joining: low <= high ? [low...high] : [], upTo: limit)
    case .greaterOrEqual(let value): self.init(joining: [value...(.max)], upTo: limit)
    case .lessOrEqual(let value): self.init(joining: [0...value], upTo: limit)
    case .prefix(let prefix): self.init(joining: [prefix.values], upTo: limit)
    case .notEqual(let value):
      self = ValueRanges(joining: [value...value], upTo: limit).complement
    case .greater(let value): self = ValueRanges(joining: [0...value], upTo: limit).complement
    case .less(let value): self = ValueRanges(joining: [value...(.max)], upTo: limit).complement
    case .notPrefix(let prefix):
      self = ValueRanges(joining: [prefix.values], upTo: limit).complement
    case .masked(let value, let mask): self.init(masked: value, mask, upTo: limit, mostOfMask)
    case .flagsAllSet(let bits):
      self.init(masked: UInt128(bits), UInt128(bits), upTo: limit, mostOfMask)
    case .flagsNoneSet(let bits): self.init(masked: 0, UInt128(bits), upTo: limit, mostOfMask)
    case .flagsAnySet(let bits):
      guard let none = ValueRanges(masked: 0, UInt128(bits), upTo: limit, mostOfMask) else {
        return nil
      }
      self = none.complement
    case .blob: return nil
    }
  }

  /// These ranges, however they lie.
  package init(joining unsorted: [ClosedRange<UInt128>], upTo limit: UInt128) {
    self.limit = limit
    ranges = []
    for range in unsorted.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      guard range.lowerBound <= limit else { break }
      let high = min(range.upperBound, limit)
      if let last = ranges.last, last.upperBound == .max || range.lowerBound <= last.upperBound + 1
      {
        ranges[ranges.count - 1] = last.lowerBound...max(last.upperBound, high)
      } else {
        ranges.append(range.lowerBound...high)
      }
    }
  }

  /// The values that have the bits of `value` where `mask` has ones.
  private init?(masked value: UInt128, _ mask: UInt128, upTo limit: UInt128, _ most: Int) {
    guard value & ~mask == 0, value <= limit else {
      self.init(joining: [], upTo: limit)
      return
    }
    let mask = mask & limit
    let lowest = UInt128(mask.trailingZeroBitCount)
    // Below the lowest bit of the mask all values lie side by side.
    let run = lowest >= 128 ? limit : limit & ((1 << lowest) - 1)
    let free = limit & ~mask & ~run
    guard free.nonzeroBitCount < 16, 1 << free.nonzeroBitCount <= most else { return nil }
    var all: [ClosedRange<UInt128>] = []
    var bits: UInt128 = 0
    repeat {
      all.append((value | bits)...(value | bits | run))
      bits = (bits &- free) & free
    } while bits != 0
    self.init(joining: all, upTo: limit)
  }

  /// The field's other values.
  package var complement: ValueRanges {
    var gaps: [ClosedRange<UInt128>] = []
    var next: UInt128? = 0
    for range in ranges {
      if let low = next, low < range.lowerBound { gaps.append(low...(range.lowerBound - 1)) }
      next = range.upperBound < limit ? range.upperBound + 1 : nil
    }
    if let low = next { gaps.append(low...limit) }
    return ValueRanges(joining: gaps, upTo: limit)
  }

  /// Whether every value that the field can have is accepted.
  package var acceptsAll: Bool { ranges == [0...limit] }

  /// Whether a value is accepted.
  package func contains(_ value: UInt128) -> Bool {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound < value { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].contains(value)
  }
}

/// A closed range of values.
struct ValueRange: BitwiseCopyable, Sendable {
  var low: UInt128
  var high: UInt128

  /// Whether one of some ranges, which are in order, has the value.
  static func contains(
    _ value: UInt128, _ ranges: borrowing [ValueRange], from first: Int, to end: Int
  ) -> Bool {
    var (low, high) = (first, end)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].high < value { low = middle + 1 } else { high = middle }
    }
    return low < end && ranges[low].low <= value
  }
}

extension IPPrefix {
  /// The addresses of the prefix as numbers.
  package var values: ClosedRange<UInt128> {
    let low = UInt128(address.high) << 64 | UInt128(address.low)
    let free = UInt128(address.bitWidth - length)
    return low...(low | (free >= 128 ? .max : (1 << free) - 1))
  }
}

extension Field {
  /// The largest value that the field can have at `layer`.
  package func largestValue(at layer: Layer) -> UInt128 {
    switch valueType {
    case .integer(let bits): (1 << UInt128(bits)) - 1
    case .address: layer.isIPv6 ? .max : 0xffff_ffff
    case .macAddress: 0xffff_ffff_ffff
    case .flags: 0xffff_ffff
    case .blob: largestBlobNumber
    }
  }
}
