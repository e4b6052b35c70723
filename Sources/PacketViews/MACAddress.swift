// SPDX-License-Identifier: Apache-2.0

/// Whom an Ethernet address names.
///
/// Mirrors `DL_ADDRESS_TYPE`.
public enum MACAddressClass: UInt8, Sendable, BitwiseCopyable {
  /// One station. `DlUnicast`.
  case unicast = 0
  /// A group of stations. `DlMulticast`.
  case multicast = 1
  /// All stations. `DlBroadcast`.
  case broadcast = 2
}

/// A 48-bit Ethernet address.
public struct MACAddress: Sendable, Hashable, BitwiseCopyable {
  /// The address in the low 48 bits, first byte on the wire most significant.
  public let rawValue: UInt64

  /// Creates an address from the low 48 bits of `rawValue`; the others are dropped.
  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue & 0xffff_ffff_ffff }

  @inlinable
  init(_ bytes: RawSpan, at offset: Int) {
    let high = UInt64(bytes.bigEndian32(at: offset))
    self.init(rawValue: high << 16 | UInt64(bytes.bigEndian16(at: offset &+ 4)))
  }

  /// Whether the address names a group, broadcast included.
  @inlinable public var isMulticast: Bool { rawValue >> 40 & 1 != 0 }

  /// Whether the address is ff:ff:ff:ff:ff:ff.
  @inlinable public var isBroadcast: Bool { rawValue == 0xffff_ffff_ffff }

  /// Whom the address names.
  @inlinable
  public var addressClass: MACAddressClass {
    isBroadcast ? .broadcast : isMulticast ? .multicast : .unicast
  }
}

extension MACAddress: LosslessStringConvertible {
  /// Parses "02:00:5e:10:00:01"; nil for anything else.
  public init?(_ description: String) {
    let parts = description.utf8.split(
      separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var value: UInt64 = 0
    for part in parts {
      guard part.count == 2, part.first != UInt8(ascii: "+"),
        let byte = UInt8(String(decoding: part, as: UTF8.self), radix: 16)
      else { return nil }
      value = value << 8 | UInt64(byte)
    }
    self.init(rawValue: value)
  }

  /// Six hexadecimal bytes in lower case, separated by colons.
  public var description: String {
    var text = ""
    for shift in stride(from: UInt64(40), through: 0, by: -8) {
      let byte = rawValue >> shift & 0xff
      if !text.isEmpty { text += ":" }
      if byte < 16 { text += "0" }
      text += String(byte, radix: 16)
    }
    return text
  }
}
