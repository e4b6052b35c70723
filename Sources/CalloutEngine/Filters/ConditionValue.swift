// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

/// A value with its type, as a condition is given it in WFP.
///
/// Mirrors `FWP_CONDITION_VALUE0`.
public indirect enum ConditionValue: Sendable, Hashable {
  /// `FWP_UINT8`.
  case uint8(UInt8)
  /// `FWP_UINT16`.
  case uint16(UInt16)
  /// `FWP_UINT32`; IPv4 addresses too, in host order.
  case uint32(UInt32)
  /// `FWP_UINT64`.
  case uint64(UInt64)
  /// `FWP_INT8`, which no field has.
  case int8(Int8)
  /// `FWP_INT16`, which no field has.
  case int16(Int16)
  /// `FWP_INT32`, which no field has.
  case int32(Int32)
  /// `FWP_INT64`, which no field has.
  case int64(Int64)
  /// `FWP_BYTE_ARRAY16_TYPE`: an IPv6 address, its first eight bytes and its last.
  case byteArray16(high: UInt64, low: UInt64)
  /// `FWP_BYTE_BLOB_TYPE`: a path.
  case byteBlob([UInt8])
  /// `FWP_BYTE_ARRAY6_TYPE`: an Ethernet address.
  case byteArray6(MACAddress)
  /// `FWP_V4_ADDR_MASK`, both in host order.
  case v4AddressMask(address: UInt32, mask: UInt32)
  /// `FWP_V6_ADDR_MASK`: an IPv6 address and how many of its first bits count.
  case v6AddressMask(high: UInt64, low: UInt64, prefixLength: UInt8)
  /// `FWP_RANGE_TYPE`: two values of one type, both included.
  case range(ConditionValue, ConditionValue)

  /// The type's number.
  ///
  /// Mirrors `FWP_DATA_TYPE`.
  public var dataType: UInt32 {
    switch self {
    case .uint8: 1
    case .uint16: 2
    case .uint32: 3
    case .uint64: 4
    case .int8: 5
    case .int16: 6
    case .int32: 7
    case .int64: 8
    case .byteArray16: 11
    case .byteBlob: 12
    case .byteArray6: 18
    case .v4AddressMask: 0x100
    case .v6AddressMask: 0x101
    case .range: 0x102
    }
  }

  /// The value, or the first of a range.
  fileprivate var first: ConditionValue {
    if case .range(let first, _) = self { first } else { self }
  }

  /// The value as the packet path compares it, nil if it is not one number.
  private var number: UInt128? {
    switch self {
    case .uint8(let value): UInt128(value)
    case .uint16(let value): UInt128(value)
    case .uint32(let value): UInt128(value)
    case .uint64(let value): UInt128(value)
    case .byteArray16(let high, let low): UInt128(high) << 64 | UInt128(low)
    case .byteArray6(let address): UInt128(address.rawValue)
    default: nil
    }
  }

  /// The value and the mask of an address mask of the family, nil if it is none.
  fileprivate func masked(isIPv6: Bool) -> Condition.Match? {
    switch self {
    case .v4AddressMask(let address, let mask) where !isIPv6:
      return .masked(UInt128(address & mask), mask: UInt128(mask))
    case .v6AddressMask(let high, let low, let length) where isIPv6:
      return IPPrefix(IPAddress(high: high, low: low), length: Int(length)).map { .prefix($0) }
    default: return nil
    }
  }

  /// The bytes of a value that must be a string of them.
  fileprivate var blob: [UInt8] {
    get throws(ConditionError) {
      guard case .byteBlob(let bytes) = self else {
        throw .typeMismatch(expected: "a value of type \(FieldDataType.byteBlob)")
      }
      return bytes
    }
  }

  /// The number of a value that must be of `field`'s type.
  fileprivate func number(of field: Field, at layer: Layer) throws(ConditionError) -> UInt128 {
    let type = field.dataType(at: layer)
    // Those that are no paths hold device indices here.
    let wanted = type == .byteBlob ? FieldDataType.uint32 : type
    guard dataType == wanted.rawValue, let number else {
      throw .typeMismatch(expected: "a value of type \(wanted)")
    }
    return number
  }
}

/// How a field is compared, under WFP's numbers.
///
/// Mirrors `FWP_MATCH_TYPE`; that for Unicode strings is not there, since no field here is one.
public enum MatchType: UInt32, CaseIterable, Sendable, BitwiseCopyable {
  /// The value is this one, or lies under an address mask.
  case equal = 0
  /// The value is above this one.
  case greater = 1
  /// The value is below this one.
  case less = 2
  /// The value is this one or above.
  case greaterOrEqual = 3
  /// The value is this one or below.
  case lessOrEqual = 4
  /// The value lies in a range, its ends included.
  case range = 5
  /// All bits of the value are set.
  case flagsAllSet = 6
  /// At least one bit of the value is set.
  case flagsAnySet = 7
  /// No bit of the value is set.
  case flagsNoneSet = 8
  /// The value is another one, or does not lie under an address mask.
  case notEqual = 10
  /// The address begins as an address mask says, the path as this one.
  case prefix = 11
  /// The address does not begin as an address mask says, or the path not as this one.
  case notPrefix = 12
}

extension Condition {
  /// A condition as WFP gives it, whose value must be of the very type that the field has at `layer`.
  ///
  /// Exceptions are WFP's: an address is also compared with an address mask.
  ///
  /// Mirrors `FWPM_FILTER_CONDITION0` and its checks in `FwpmFilterAdd0`.
  public init(
    _ field: Field, _ type: MatchType, _ value: ConditionValue, at layer: Layer
  ) throws(ConditionError) {
    guard field.isAvailable(at: layer) else { throw .fieldNotAtLayer }
    // WFP does not order 6-byte arrays.
    if field.valueType == .macAddress, Self.orders.contains(type) {
      guard case .byteArray6 = value.first else { throw .typeMismatch(expected: "a MAC address") }
      throw .matchTypeMismatch(expected: "no order")
    }
    self.init(field, try Self.match(field, type, value, layer))
    try check(at: layer)
  }

  private static let orders: Set<MatchType> = [
    .greater, .less, .greaterOrEqual, .lessOrEqual, .range,
  ]

  private static func match(
    _ field: Field, _ type: MatchType, _ value: ConditionValue, _ layer: Layer
  ) throws(ConditionError) -> Match {
    if field.valueType == .blob { return .blob(try blob(type, value)) }
    switch type {
    case .equal, .prefix:
      if field.valueType == .address, let masked = value.masked(isIPv6: layer.isIPv6) {
        return masked
      }
      if type == .prefix { throw noMask(field) }
      return .equal(try value.number(of: field, at: layer))
    case .notEqual, .notPrefix:
      if field.valueType == .address, let masked = value.masked(isIPv6: layer.isIPv6) {
        return try outside(masked)
      }
      if type == .notPrefix { throw noMask(field) }
      return .notEqual(try value.number(of: field, at: layer))
    case .greater: return .greater(try value.number(of: field, at: layer))
    case .less: return .less(try value.number(of: field, at: layer))
    case .greaterOrEqual: return .greaterOrEqual(try value.number(of: field, at: layer))
    case .lessOrEqual: return .lessOrEqual(try value.number(of: field, at: layer))
    case .range:
      guard case .range(let low, let high) = value else {
        throw .typeMismatch(expected: "a range")
      }
      return .range(
        try low.number(of: field, at: layer), try high.number(of: field, at: layer))
    case .flagsAllSet: return .flagsAllSet(try bits(field, value, layer))
    case .flagsAnySet: return .flagsAnySet(try bits(field, value, layer))
    case .flagsNoneSet: return .flagsNoneSet(try bits(field, value, layer))
    }
  }

  private static func blob(
    _ type: MatchType, _ value: ConditionValue
  ) throws(ConditionError) -> BlobMatch {
    switch type {
    case .equal: return .equal(try value.blob)
    case .notEqual: return .notEqual(try value.blob)
    case .prefix: return .prefix(try value.blob)
    case .notPrefix: return .notPrefix(try value.blob)
    case .greater: return .greater(try value.blob)
    case .less: return .less(try value.blob)
    case .greaterOrEqual: return .greaterOrEqual(try value.blob)
    case .lessOrEqual: return .lessOrEqual(try value.blob)
    case .range:
      guard case .range(let low, let high) = value else {
        throw .typeMismatch(expected: "a range")
      }
      return .range(try low.blob, try high.blob)
    case .flagsAllSet, .flagsAnySet, .flagsNoneSet: throw .matchTypeMismatch(expected: "no flags")
    }
  }

  private static func noMask(_ field: Field) -> ConditionError {
    field.valueType == .address
      ? .typeMismatch(expected: "an address mask of the layer's family")
      : .matchTypeMismatch(expected: "no prefix")
  }

  /// All but what lies under a mask.
  private static func outside(_ match: Match) throws(ConditionError) -> Match {
    if case .prefix(let prefix) = match { return .notPrefix(prefix) }
    guard case .masked(let value, let mask) = match else { return match }
    let bits = UInt32(truncatingIfNeeded: mask)
    let length = bits.nonzeroBitCount
    let address = IPAddress(v4: UInt32(truncatingIfNeeded: value))
    guard bits.leadingZeroBitCount == 0 || bits == 0, (~bits).leadingZeroBitCount == length,
      let prefix = IPPrefix(address, length: length)
    else { throw .matchTypeMismatch(expected: "a mask without gaps where it is to be outside") }
    return .notPrefix(prefix)
  }

  private static func bits(
    _ field: Field, _ value: ConditionValue, _ layer: Layer
  ) throws(ConditionError) -> UInt32 {
    guard field.valueType != .address, field.valueType != .macAddress else {
      throw .matchTypeMismatch(expected: "no flags")
    }
    guard let bits = UInt32(exactly: try value.number(of: field, at: layer)) else {
      throw .typeMismatch(expected: "flags of at most 32 bits")
    }
    return bits
  }
}
