// SPDX-License-Identifier: Apache-2.0

/// An address prefix such as 10.0.0.0/8.
public struct IPPrefix: Sendable, Hashable, BitwiseCopyable {
  /// The network address: the bits behind the prefix are 0.
  public let address: IPAddress
  /// The number of leading bits that count, 0 to 32 or 0 to 128.
  public let length: Int

  /// Creates a prefix, clearing the bits behind it; nil when `length` does not fit the version.
  public init?(_ address: IPAddress, length: Int) {
    guard length >= 0, length <= address.bitWidth else { return nil }
    let mask = Self.mask(length: length, version: address.version)
    self.length = length
    self.address =
      address.version == .v4
      ? IPAddress(v4: UInt32(truncatingIfNeeded: address.low & mask.low))
      : IPAddress(high: address.high & mask.high, low: address.low & mask.low)
  }

  /// Whether `candidate` is of the same version and begins with the prefix.
  @inlinable
  public func contains(_ candidate: IPAddress) -> Bool {
    let mask = Self.mask(length: length, version: address.version)
    return candidate.version == address.version && candidate.high & mask.high == address.high
      && candidate.low & mask.low == address.low
  }

  @inlinable
  static func mask(length: Int, version: IPVersion) -> (high: UInt64, low: UInt64) {
    // Smart shifts: by 64 or more they give 0, so no length needs a case of its own.
    guard version == .v6 else { return (0, 0xffff_ffff & (0xffff_ffff << (32 &- length))) }
    let ones = UInt64.max
    guard length > 64 else { return (ones << (64 &- length), 0) }
    return (ones, ones << (128 &- length))
  }
}

extension IPPrefix: LosslessStringConvertible {
  /// Parses "10.0.0.0/8" or "fe80::/10"; a bare address is a prefix of full length.
  public init?(_ description: String) {
    let text = Array(description.utf8)
    let parts = text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard parts.count <= 2, let first = parts.first,
      let address = IPAddress(String(decoding: first, as: UTF8.self))
    else { return nil }
    guard parts.count == 2 else {
      self.init(address, length: address.bitWidth)
      return
    }
    guard let length = IPAddress.decimal(parts[1], limit: address.bitWidth) else { return nil }
    self.init(address, length: length)
  }

  /// Address and length, "10.0.0.0/8".
  public var description: String { "\(address)/\(length)" }
}
