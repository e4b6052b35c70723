// SPDX-License-Identifier: Apache-2.0

/// What an object is known by for good, whatever its name: 128 bits, written as a GUID.
///
/// Mirrors the `GUID` of `FWPM_*_KEY`.
public struct ObjectKey: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The bits, in the order in which they are written.
  public let rawValue: UInt128

  /// A key of these bits.
  public init(rawValue: UInt128) { self.rawValue = rawValue }

  /// A key that nobody else has.
  public static func random() -> ObjectKey {
    // Version 4, variant 1 of RFC 9562.
    let bits = UInt128.random(in: .min ... .max)
    let kept = bits & ~(0xf << 76) & ~(0x3 << 62)
    return ObjectKey(rawValue: kept | 4 << 76 | 2 << 62)
  }

  /// The key that 32 hexadecimal digits in five groups of 8, 4, 4, 4 and 12 say.
  public init?(_ text: String) {
    let groups = text.split(separator: "-", omittingEmptySubsequences: false)
    let digits = groups.joined()
    guard groups.map(\.utf8.count) == [8, 4, 4, 4, 12],
      digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") }),
      let bits = UInt128(digits, radix: 16)
    else { return nil }
    rawValue = bits
  }

  /// The key in lower case, in five groups.
  public var description: String {
    var text = ""
    for digit in (0..<32).reversed() {
      text += String(UInt8(truncatingIfNeeded: rawValue >> UInt128(4 * digit)) & 15, radix: 16)
      if [24, 20, 16, 12].contains(digit) { text += "-" }
    }
    return text
  }

  /// Whether a key's bits are a lower number.
  public static func < (left: ObjectKey, right: ObjectKey) -> Bool {
    left.rawValue < right.rawValue
  }
}
