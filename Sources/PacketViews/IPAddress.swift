// SPDX-License-Identifier: Apache-2.0

/// An IPv4 or IPv6 address in host order.
public struct IPAddress: Sendable, Hashable, BitwiseCopyable {
  /// The upper 64 bits of an IPv6 address; 0 for IPv4.
  public let high: UInt64
  /// The lower 64 bits of an IPv6 address; an IPv4 address is in the low 32.
  public let low: UInt64
  /// The version the address belongs to.
  public let version: IPVersion

  /// Creates an IPv6 address from its halves in host order.
  @inlinable
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
    version = .v6
  }

  /// Creates an IPv4 address from its 32 bits in host order.
  @inlinable
  public init(v4 bits: UInt32) {
    high = 0
    low = UInt64(bits)
    version = .v4
  }

  /// Creates an IPv4 address from its four bytes, most significant first.
  @inlinable
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    self.init(v4: UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d))
  }

  /// The number of bits in an address of this version: 32 or 128.
  @inlinable
  public var bitWidth: Int { version == .v4 ? 32 : 128 }

  /// Whether the address is in 224.0.0.0/4 or ff00::/8.
  @inlinable
  public var isMulticast: Bool { version == .v4 ? low >> 28 == 0xe : high >> 56 == 0xff }

  /// Whether the address is in 127.0.0.0/8 or is ::1.
  @inlinable
  public var isLoopback: Bool { version == .v4 ? low >> 24 == 127 : high == 0 && low == 1 }

  /// Whether the address is 0.0.0.0 or ::.
  @inlinable
  public var isUnspecified: Bool { high == 0 && low == 0 }

  /// Whether the address is in 169.254.0.0/16 or fe80::/10.
  @inlinable
  public var isLinkLocal: Bool { version == .v4 ? low >> 16 == 0xa9fe : high >> 54 == 0x3fa }

  /// The 16-bit group at `index` (0 to 7) of an IPv6 address; of the low half, 6 and 7 hold IPv4.
  @inlinable
  func group(_ index: Int) -> UInt16 {
    let half = index < 4 ? high : low
    return UInt16(truncatingIfNeeded: half >> UInt64((3 &- index & 3) &* 16))
  }
}

extension IPAddress: CustomStringConvertible {
  /// Dotted decimal, or the canonical IPv6 text of RFC 5952.
  public var description: String {
    guard version == .v6 else { return Self.dotted(UInt32(truncatingIfNeeded: low)) }
    if high == 0, low >> 32 == 0xffff {
      return "::ffff:" + Self.dotted(UInt32(truncatingIfNeeded: low))
    }
    let zeros = longestZeroRun
    var text = ""
    var index = 0
    while index < 8 {
      if index == zeros.lowerBound, zeros.count > 1 {
        text += "::"
        index = zeros.upperBound
        continue
      }
      if !text.isEmpty, !text.hasSuffix(":") { text += ":" }
      text += String(group(index), radix: 16)
      index += 1
    }
    return text
  }

  /// The first of the longest runs of zero groups.
  private var longestZeroRun: Range<Int> {
    var best = 0..<0
    var start = 0
    for index in 0..<8 {
      if group(index) != 0 {
        start = index + 1
      } else if index + 1 - start > best.count {
        best = start..<(index + 1)
      }
    }
    return best
  }

  private static func dotted(_ bits: UInt32) -> String {
    "\(bits >> 24).\(bits >> 16 & 0xff).\(bits >> 8 & 0xff).\(bits & 0xff)"
  }
}
