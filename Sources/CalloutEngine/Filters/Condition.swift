// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// One test of one field.
///
/// Conditions on the same field are or-ed, fields are and-ed.
///
/// Mirrors `FWPM_FILTER_CONDITION0`. A field that a packet has no value for never matches.
public struct Condition: Sendable, Hashable {
  /// How the field is compared.
  ///
  /// Mirrors `FWP_MATCH_TYPE`.
  public enum Match: Sendable, Hashable {
    /// The value is this one.
    case equal(UInt128)
    /// The value is another one.
    case notEqual(UInt128)
    /// The value is above this one.
    case greater(UInt128)
    /// The value is below this one.
    case less(UInt128)
    /// The value is this one or above.
    case greaterOrEqual(UInt128)
    /// The value is this one or below.
    case lessOrEqual(UInt128)
    /// The value lies between the two, both included.
    case range(UInt128, UInt128)
    /// The address lies in the prefix.
    case prefix(IPPrefix)
    /// The address does not lie in the prefix.
    case notPrefix(IPPrefix)
    /// The bits of the mask are those of the value; the value has no others.
    case masked(UInt128, mask: UInt128)
    /// All these bits are set.
    case flagsAllSet(UInt32)
    /// At least one of these bits is set.
    case flagsAnySet(UInt32)
    /// None of these bits is set.
    case flagsNoneSet(UInt32)
    /// The string of bytes compares so; for paths.
    case blob(BlobMatch)
  }

  /// What is tested.
  public var field: Field
  /// How.
  public var match: Match

  /// A condition.
  public init(_ field: Field, _ match: Match) {
    self.field = field
    self.match = match
  }

  /// A condition that an address is this one.
  public init(_ field: Field, equals address: IPAddress) {
    self.init(field, .equal(UInt128(address.high) << 64 | UInt128(address.low)))
  }

  /// A condition that an Ethernet address is this one.
  public init(_ field: Field, equals address: MACAddress) {
    self.init(field, .equal(UInt128(address.rawValue)))
  }

  /// A condition that an Ethernet address begins with the first `length` bits of `address`.
  public init(_ field: Field, within address: MACAddress, length: Int) {
    let kept = min(max(length, 0), 48)
    let all: UInt128 = 0xffff_ffff_ffff
    let mask = all & ~(all >> UInt128(kept))
    self.init(field, .masked(UInt128(address.rawValue) & mask, mask: mask))
  }

  /// Whether a value passes the test.
  func accepts(_ value: UInt128) -> Bool { CompiledCondition(self, endsGroup: true).accepts(value) }
}

/// A condition as the packet path tests it.
struct CompiledCondition: BitwiseCopyable {
  enum Test: UInt8, BitwiseCopyable { case range, outside, masked, anySet, set }
  /// For `set`, where the first range is.
  var low: UInt128
  /// For `set`, where the last range ends.
  var high: UInt128
  var field: Field
  /// Where a search keeps the field's value.
  var slot: Int32 = 0
  var test: Test
  /// The last of the conditions on one field.
  var endsGroup: Bool

  init(_ condition: Condition, endsGroup: Bool) {
    field = condition.field
    self.endsGroup = endsGroup
    switch condition.match {
    case .equal(let value): (test, low, high) = (.range, value, value)
    case .notEqual(let value): (test, low, high) = (.outside, value, value)
    case .greater(let value): (test, low, high) = (.outside, 0, value)
    case .less(let value): (test, low, high) = (.outside, value, .max)
    case .greaterOrEqual(let value): (test, low, high) = (.range, value, .max)
    case .lessOrEqual(let value): (test, low, high) = (.range, 0, value)
    case .range(let first, let last): (test, low, high) = (.range, first, last)
    case .prefix(let prefix):
      (test, low, high) = (.range, prefix.values.lowerBound, prefix.values.upperBound)
    case .notPrefix(let prefix):
      (test, low, high) = (.outside, prefix.values.lowerBound, prefix.values.upperBound)
    case .masked(let value, let mask): (test, low, high) = (.masked, value, mask)
    case .flagsAllSet(let bits): (test, low, high) = (.masked, UInt128(bits), UInt128(bits))
    case .flagsAnySet(let bits): (test, low, high) = (.anySet, 0, UInt128(bits))
    case .flagsNoneSet(let bits): (test, low, high) = (.masked, 0, UInt128(bits))
    // Numbers stand for strings, see `BlobOrder`; by itself it accepts nothing.
    case .blob: (test, low, high) = (.range, 1, 0)
    }
  }

  /// One range, or all the ranges at a place in the policy.
  init(_ field: Field, _ test: Test, _ low: UInt128, _ high: UInt128) {
    self.field = field
    self.test = test
    self.low = low
    self.high = high
    endsGroup = false
  }

  @inline(__always)
  func accepts(_ value: UInt128, _ sets: borrowing [ValueRange] = []) -> Bool {
    switch test {
    case .set: ValueRange.contains(value, sets, from: Int(low), to: Int(high))
    case .range: value >= low && value <= high
    case .outside: value < low || value > high
    case .masked: value & high == low
    case .anySet: value & high != 0
    }
  }
}
