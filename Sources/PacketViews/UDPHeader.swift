// SPDX-License-Identifier: Apache-2.0

/// A borrowed UDP header and what was captured behind it.
public struct UDPHeader: ~Escapable {
  /// The header and all behind it.
  public let bytes: RawSpan

  /// A view of the UDP header at the start of `bytes`; the length must be 0 or at least 8.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) throws(MalformedPacket) {
    guard bytes.byteCount >= 8 else { throw .truncated(needed: 8) }
    let length = Int(bytes.bigEndian16(at: 4))
    guard length == 0 || length >= 8 else { throw .badUDPLength(length) }
    self.bytes = bytes
  }

  /// The source port.
  @inlinable public var sourcePort: UInt16 { bytes.bigEndian16(at: 0) }
  /// The destination port.
  @inlinable public var destinationPort: UInt16 { bytes.bigEndian16(at: 2) }
  /// The length of header and payload in bytes; 0 in a jumbogram.
  @inlinable public var length: Int { Int(bytes.bigEndian16(at: 4)) }
  /// The checksum field; 0 means that there is none.
  @inlinable public var checksum: UInt16 { bytes.bigEndian16(at: 6) }

  /// What was captured of the payload.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self) get {
      bytes.slice(from: 8, length: length == 0 ? .max : length &- 8)
    }
  }
}
