// SPDX-License-Identifier: Apache-2.0

/// A borrowed ICMP or ICMPv6 header and what was captured behind it.
public struct ICMPHeader: ~Escapable {
  /// The header and all behind it.
  public let bytes: RawSpan
  /// Which ICMP this is: the types differ.
  public let version: IPVersion

  /// A view of the eight-byte header at the start of `bytes`, of ICMP for `version`.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan, version: IPVersion) throws(MalformedPacket) {
    guard bytes.byteCount >= 8 else { throw .truncated(needed: 8) }
    self.bytes = bytes
    self.version = version
  }

  /// The message type.
  @inlinable public var type: UInt8 { bytes.byte(at: 0) }
  /// The code, which refines the type.
  @inlinable public var code: UInt8 { bytes.byte(at: 1) }
  /// The checksum field.
  @inlinable public var checksum: UInt16 { bytes.bigEndian16(at: 2) }
  /// The last four bytes of the header; their meaning depends on the type.
  @inlinable public var rest: UInt32 { bytes.bigEndian32(at: 4) }

  /// Whether this is an echo request or reply.
  @inlinable
  public var isEcho: Bool {
    version == .v4 ? type == 0 || type == 8 : type == 128 || type == 129
  }

  /// The identifier of an echo message; nil for all else.
  @inlinable public var echoIdentifier: UInt16? { isEcho ? bytes.bigEndian16(at: 4) : nil }
  /// The sequence number of an echo message; nil for all else.
  @inlinable public var echoSequence: UInt16? { isEcho ? bytes.bigEndian16(at: 6) : nil }

  /// Whether the message reports an error about another packet, which it quotes.
  @inlinable
  public var isError: Bool { Self.isError(type, version) }

  @inlinable
  static func isError(_ type: UInt8, _ version: IPVersion) -> Bool {
    guard version == .v4 else { return type < 128 }
    switch type {
    case 3, 4, 5, 11, 12: return true
    default: return false
    }
  }

  /// What was captured behind the header; of an error, the packet it is about, mostly cut.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self) get { bytes.slice(from: 8) }
  }
}
