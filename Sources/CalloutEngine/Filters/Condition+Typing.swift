// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
internal import PacketViews

/// Why a field cannot be tested as a condition says.
public enum ConditionError: Error, Sendable, Hashable {
  /// The layer has no such field. `STATUS_FWP_CONDITION_NOT_FOUND`.
  case fieldNotAtLayer
  /// The value is not of the field's type; nothing is converted. `STATUS_FWP_TYPE_MISMATCH`.
  case typeMismatch(expected: String)
  /// Values of the field's type cannot be compared so. `STATUS_FWP_MATCH_TYPE_MISMATCH`.
  case matchTypeMismatch(expected: String)
  /// A range ends before it begins. `STATUS_FWP_INVALID_RANGE`.
  case invalidRange

  /// The NTSTATUS value.
  public var status: UInt32 {
    switch self {
    case .fieldNotAtLayer: 0xc022_0002
    case .typeMismatch: 0xc022_0027
    case .matchTypeMismatch: 0xc022_0026
    case .invalidRange: 0xc022_0020
    }
  }
}

extension Condition {
  /// Whether packets at `layer` can be tested so.
  func check(at layer: Layer) throws(ConditionError) {
    let limit = field.largestValue(at: layer)
    if case .blob(let match) = match { return try check(match) }
    guard field.valueType != .blob else { throw .typeMismatch(expected: "a path") }
    switch match {
    case .blob: break
    case .equal(let value), .notEqual(let value), .greater(let value), .less(let value),
      .greaterOrEqual(let value), .lessOrEqual(let value):
      guard value <= limit else {
        throw .typeMismatch(expected: "a value of at most \(limit)")
      }
    case .range(let low, let high):
      guard low <= high else { throw .invalidRange }
      guard high <= limit else { throw .typeMismatch(expected: "values of at most \(limit)") }
    case .prefix(let prefix), .notPrefix(let prefix):
      guard field.valueType == .address else { throw .matchTypeMismatch(expected: "no prefix") }
      guard (prefix.address.version == .v6) == layer.isIPv6 else {
        throw .typeMismatch(expected: "an address of the layer's family")
      }
    case .masked(let value, let mask):
      guard mask <= limit, value & ~mask == 0 else {
        throw .typeMismatch(
          expected: "a mask of at most \(limit) and a value without bits outside of it")
      }
    case .flagsAllSet(let bits), .flagsAnySet(let bits), .flagsNoneSet(let bits):
      switch field.valueType {
      case .address, .macAddress, .blob: throw .matchTypeMismatch(expected: "no flags")
      case .integer, .flags: break
      }
      guard UInt128(bits) <= limit else {
        throw .typeMismatch(expected: "flags of at most \(limit)")
      }
    }
  }

  private func check(_ match: BlobMatch) throws(ConditionError) {
    guard field.valueType == .blob else { throw .typeMismatch(expected: "no path") }
    for operand in match.operands {
      guard !operand.isEmpty, operand.count <= Self.longestBlob, !operand.contains(0) else {
        throw .typeMismatch(expected: "a path of 1 to \(Self.longestBlob) bytes without a 0")
      }
    }
    if case .range(let low, let high) = match, high.lexicographicallyPrecedes(low) {
      throw .invalidRange
    }
  }

  /// The kernel's longest path.
  static let longestBlob = 4096
}

extension PolicyError {
  init(_ error: ConditionError, _ condition: Condition, of filter: Filter) {
    let (name, field) = (filter.name, condition.field.name)
    switch error {
    case .fieldNotAtLayer:
      self = .fieldNotAtLayer(
        filter: name, field: field, layer: filter.layer.name,
        instead: condition.field.substitute(at: filter.layer))
    case .typeMismatch(let expected):
      self = .typeMismatch(filter: name, field: field, expected: expected)
    case .matchTypeMismatch(let expected):
      self = .matchTypeMismatch(filter: name, field: field, expected: expected)
    case .invalidRange: self = .invalidRange(filter: name, field: field)
    }
  }
}
