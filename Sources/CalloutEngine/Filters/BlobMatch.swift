// SPDX-License-Identifier: Apache-2.0

/// How a string of bytes, such as a path, is compared.
///
/// Mirrors `FWP_MATCH_TYPE` with a value of `FWP_BYTE_BLOB_TYPE`.
public enum BlobMatch: Sendable, Hashable {
  /// It is this one.
  case equal([UInt8])
  /// It is another one.
  case notEqual([UInt8])
  /// It begins so.
  case prefix([UInt8])
  /// It does not begin so.
  case notPrefix([UInt8])
  /// It stands behind this one in the order of bytes.
  case greater([UInt8])
  /// It stands before this one.
  case less([UInt8])
  /// It is this one or stands behind it.
  case greaterOrEqual([UInt8])
  /// It is this one or stands before it.
  case lessOrEqual([UInt8])
  /// It stands between the two, both included.
  case range([UInt8], [UInt8])

  /// The strings that are named.
  package var operands: [[UInt8]] {
    switch self {
    case .equal(let blob), .notEqual(let blob), .prefix(let blob), .notPrefix(let blob),
      .greater(let blob), .less(let blob), .greaterOrEqual(let blob), .lessOrEqual(let blob):
      [blob]
    case .range(let low, let high): [low, high]
    }
  }

  /// Where the accepted strings begin, and before which they end; nil for no end.
  fileprivate var interval: (low: [UInt8], end: [UInt8]?) {
    switch self {
    case .equal(let blob), .notEqual(let blob): (blob, blob + [0])
    case .prefix(let blob), .notPrefix(let blob): (blob, Self.end(ofPrefix: blob))
    case .greater(let blob): (blob + [0], nil)
    case .less(let blob): ([], blob)
    case .greaterOrEqual(let blob): (blob, nil)
    case .lessOrEqual(let blob): ([], blob + [0])
    case .range(let low, let high): (low, high + [0])
    }
  }

  /// Whether the strings outside of the interval are accepted.
  fileprivate var isOutside: Bool {
    switch self {
    case .notEqual, .notPrefix: true
    default: false
    }
  }

  /// The first string behind all that begin so, nil if there is none.
  private static func end(ofPrefix prefix: [UInt8]) -> [UInt8]? {
    var end = prefix
    while let last = end.popLast() {
      if last < .max { return end + [last + 1] }
    }
    return nil
  }
}

/// The strings of a policy's conditions in order, so that the packet path compares numbers: a string's
/// number is its place among them.
package struct BlobOrder: Sendable {
  private let bounds: [[UInt8]]

  /// The order of what the filters' conditions name.
  init(_ filters: [Filter]) {
    var all: Set<[UInt8]> = []
    for filter in filters {
      for condition in filter.conditions {
        guard case .blob(let match) = condition.match else { continue }
        let (low, end) = match.interval
        all.insert(low)
        if let end { all.insert(end) }
      }
    }
    bounds = all.sorted { $0.lexicographicallyPrecedes($1) }
  }

  /// The number of a string: how many bounds are not behind it.
  package func place(of blob: [UInt8]) -> UInt32 {
    var (low, high) = (0, bounds.count)
    while low < high {
      let middle = (low + high) / 2
      if blob.lexicographicallyPrecedes(bounds[middle]) { high = middle } else { low = middle + 1 }
    }
    return UInt32(clamping: low)
  }

  /// The condition in numbers, or-ed; others stay as they are.
  func numeric(_ condition: Condition) -> [Condition] {
    guard case .blob(let match) = condition.match else { return [condition] }
    let (low, end) = match.interval
    let first = UInt128(place(of: low))
    let last = end.map { UInt128(place(of: $0)) - 1 } ?? condition.field.largestBlobNumber
    guard match.isOutside else { return [Condition(condition.field, .range(first, last))] }
    return [Condition(condition.field, .less(first)), Condition(condition.field, .greater(last))]
  }
}

extension Field {
  /// The largest number that a string of bytes can have.
  var largestBlobNumber: UInt128 { 0xffff_ffff }
}

extension Condition {
  /// A condition that a path is this one.
  public init(_ field: Field, equals path: String) {
    self.init(field, .blob(.equal(Array(path.utf8))))
  }

  /// A condition that a path begins so.
  public init(_ field: Field, beginsWith path: String) {
    self.init(field, .blob(.prefix(Array(path.utf8))))
  }
}
