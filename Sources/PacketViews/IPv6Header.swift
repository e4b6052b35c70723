// SPDX-License-Identifier: Apache-2.0

/// A borrowed IPv6 header and what was captured behind it.
public struct IPv6Header: ~Escapable {
  /// The header and all behind it.
  public let bytes: RawSpan

  /// A view of the forty-byte IPv6 header at the start of `bytes`.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) throws(MalformedPacket) {
    guard let first = bytes.loadByte(at: 0) else { throw .truncated(needed: 40) }
    guard first >> 4 == 6 else { throw .badVersion(first >> 4) }
    guard bytes.byteCount >= 40 else { throw .truncated(needed: 40) }
    self.bytes = bytes
  }

  /// The differentiated services code point, 0 to 63.
  @inlinable
  public var dscp: UInt8 { UInt8(truncatingIfNeeded: bytes.bigEndian16(at: 0) >> 6) & 0x3f }
  /// The two explicit congestion notification bits.
  @inlinable
  public var ecn: UInt8 { UInt8(truncatingIfNeeded: bytes.bigEndian16(at: 0) >> 4) & 3 }
  /// The flow label, 20 bits.
  @inlinable public var flowLabel: UInt32 { bytes.bigEndian32(at: 0) & 0xf_ffff }
  /// The bytes behind this header, extension headers included; 0 in jumbograms.
  @inlinable public var payloadLength: Int { Int(bytes.bigEndian16(at: 4)) }
  /// What follows this header.
  @inlinable public var nextHeader: IPProtocol { IPProtocol(rawValue: bytes.byte(at: 6)) }
  /// The hop limit.
  @inlinable public var hopLimit: UInt8 { bytes.byte(at: 7) }

  /// The source address.
  @inlinable
  public var sourceAddress: IPAddress {
    IPAddress(high: bytes.bigEndian64(at: 8), low: bytes.bigEndian64(at: 16))
  }

  /// The destination address; with a routing header, the next segment.
  @inlinable
  public var destinationAddress: IPAddress {
    IPAddress(high: bytes.bigEndian64(at: 24), low: bytes.bigEndian64(at: 32))
  }

  /// A walk over the extension headers, which starts behind this one.
  @inlinable
  public var extensionHeaders: IPv6ExtensionHeaders {
    @_lifetime(copy self) get {
      IPv6ExtensionHeaders(packet: bytes, end: isLengthUnknown ? .max : payloadLength &+ 40)
    }
  }

  /// Whether the packet is too long for its length field: a jumbogram or a BIG TCP segment.
  @inlinable
  public var isLengthUnknown: Bool {
    payloadLength == 0 && bytes.byteCount > 40 && (nextHeader == .hopByHop || nextHeader == .tcp)
  }

  /// What was captured behind this header, extension headers included.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self) get {
      bytes.slice(from: 40, length: isLengthUnknown ? .max : payloadLength)
    }
  }
}
