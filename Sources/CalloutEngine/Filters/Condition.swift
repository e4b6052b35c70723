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
    /// The value lies between the two, both included.
    case range(UInt128, UInt128)
    /// The address lies in the prefix.
    case prefix(IPPrefix)
    /// The bits of the mask are those of the value; the value has no others.
    case masked(UInt128, mask: UInt128)
    /// All these bits are set.
    case flagsAllSet(UInt32)
    /// At least one of these bits is set.
    case flagsAnySet(UInt32)
    /// None of these bits is set.
    case flagsNoneSet(UInt32)
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
  enum Test: UInt8, BitwiseCopyable { case range, masked, anySet }
  var low: UInt128
  var high: UInt128
  var field: Field
  var test: Test
  /// The last of the conditions on one field.
  var endsGroup: Bool

  init(_ condition: Condition, endsGroup: Bool) {
    field = condition.field
    self.endsGroup = endsGroup
    switch condition.match {
    case .equal(let value): (test, low, high) = (.range, value, value)
    case .range(let first, let last): (test, low, high) = (.range, first, last)
    case .prefix(let prefix):
      let width = prefix.address.version == .v4 ? 32 : 128
      let all: UInt128 = width == 32 ? 0xffff_ffff : .max
      let mask =
        prefix.length == 0 ? 0 : all & ~((UInt128(1) << UInt128(width - prefix.length)) &- 1)
      let value = UInt128(prefix.address.high) << 64 | UInt128(prefix.address.low)
      (test, low, high) = (.masked, value & mask, mask)
    case .masked(let value, let mask): (test, low, high) = (.masked, value, mask)
    case .flagsAllSet(let bits): (test, low, high) = (.masked, UInt128(bits), UInt128(bits))
    case .flagsAnySet(let bits): (test, low, high) = (.anySet, 0, UInt128(bits))
    case .flagsNoneSet(let bits): (test, low, high) = (.masked, 0, UInt128(bits))
    }
  }

  @inline(__always)
  func accepts(_ value: UInt128) -> Bool {
    switch test {
    case .range: value >= low && value <= high
    case .masked: value & high == low
    case .anySet: value & high != 0
    }
  }
}
