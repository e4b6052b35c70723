// SPDX-License-Identifier: Apache-2.0

/// The flags in the 14th byte of a TCP header.
public struct TCPFlags: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The byte on the wire.
  public let rawValue: UInt8

  /// Creates the flags from the byte on the wire.
  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// No more data from the sender.
  @inlinable public static var fin: Self { Self(rawValue: 0x01) }
  /// Synchronise sequence numbers.
  @inlinable public static var syn: Self { Self(rawValue: 0x02) }
  /// Reset the connection.
  @inlinable public static var rst: Self { Self(rawValue: 0x04) }
  /// Push.
  @inlinable public static var psh: Self { Self(rawValue: 0x08) }
  /// The acknowledgment number counts.
  @inlinable public static var ack: Self { Self(rawValue: 0x10) }
  /// The urgent pointer counts.
  @inlinable public static var urg: Self { Self(rawValue: 0x20) }
  /// Congestion experienced echo.
  @inlinable public static var ece: Self { Self(rawValue: 0x40) }
  /// Congestion window reduced.
  @inlinable public static var cwr: Self { Self(rawValue: 0x80) }
}

/// A borrowed TCP header with its options and what was captured behind it.
public struct TCPHeader: ~Escapable {
  /// The header and all behind it.
  public let bytes: RawSpan

  /// A view of the TCP header at the start of `bytes`, which must hold all of it.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) throws(MalformedPacket) {
    guard bytes.byteCount >= 20 else { throw .truncated(needed: 20) }
    let length = Int(bytes.byte(at: 12) >> 4) &* 4
    guard length >= 20 else { throw .badTCPHeaderLength(length) }
    guard bytes.byteCount >= length else { throw .truncated(needed: length) }
    self.bytes = bytes
  }

  /// The source port.
  @inlinable public var sourcePort: UInt16 { bytes.bigEndian16(at: 0) }
  /// The destination port.
  @inlinable public var destinationPort: UInt16 { bytes.bigEndian16(at: 2) }
  /// The sequence number of the first payload byte.
  @inlinable public var sequenceNumber: UInt32 { bytes.bigEndian32(at: 4) }
  /// The next sequence number expected from the peer.
  @inlinable public var acknowledgmentNumber: UInt32 { bytes.bigEndian32(at: 8) }
  /// The header's length in bytes with options, 20 to 60.
  @inlinable public var headerLength: Int { Int(bytes.byte(at: 12) >> 4) &* 4 }
  /// The flags.
  @inlinable public var flags: TCPFlags { TCPFlags(rawValue: bytes.byte(at: 13)) }
  /// The window as on the wire, not scaled.
  @inlinable public var window: UInt16 { bytes.bigEndian16(at: 14) }
  /// The checksum field.
  @inlinable public var checksum: UInt16 { bytes.bigEndian16(at: 16) }
  /// The urgent pointer.
  @inlinable public var urgentPointer: UInt16 { bytes.bigEndian16(at: 18) }

  /// A walk over the options.
  @inlinable
  public var options: HeaderOptions {
    @_lifetime(copy self) get {
      HeaderOptions(bytes.slice(from: 20, length: headerLength &- 20))
    }
  }

  /// What was captured behind the header.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self) get { bytes.slice(from: headerLength) }
  }
}
