// SPDX-License-Identifier: Apache-2.0

/// One IPv6 extension header, borrowed from the packet.
public struct IPv6ExtensionHeader: ~Escapable {
  /// What kind of extension header this is.
  public let type: IPProtocol
  /// Where it begins, in bytes from the start of the packet.
  public let offset: Int
  /// The whole header.
  public let bytes: RawSpan

  @inlinable
  @_lifetime(copy bytes)
  init(type: IPProtocol, offset: Int, bytes: RawSpan) {
    self.type = type
    self.offset = offset
    self.bytes = bytes
  }

  /// What follows this header.
  @inlinable
  public var nextHeader: IPProtocol { IPProtocol(rawValue: bytes.byte(at: 0)) }

  /// Segments left in a routing header: hops still to visit; 0 for other headers.
  @inlinable
  public var segmentsLeft: Int { type == .routing ? Int(bytes.byte(at: 3)) : 0 }
}

/// A walk over the extension headers of an IPv6 packet, in order.
///
/// It ends at the first header that is not an extension header, or at the fragment header of a
/// fragment other than the first, behind which there is only data.
public struct IPv6ExtensionHeaders: ~Escapable {
  /// The most extension headers a packet may carry.
  @inlinable public static var limit: Int { 16 }

  @usableFromInline let packet: RawSpan
  @usableFromInline let end: Int
  @usableFromInline var count = 0
  @usableFromInline var fragmentField: UInt16 = 0
  @usableFromInline var current: IPProtocol
  @usableFromInline var position = 40
  @usableFromInline var identification: UInt32?

  /// Starts behind the fixed header of `packet`; no header may reach past `end` bytes.
  @inlinable
  @_lifetime(copy packet)
  init(packet: RawSpan, end: Int) {
    self.packet = packet
    self.end = end
    current = IPProtocol(rawValue: packet.byte(at: 6))
  }

  /// What is at `offset`: after the walk, the transport protocol.
  @inlinable public var protocolNumber: IPProtocol { current }

  /// Where the walk is, in bytes from the start of the packet.
  @inlinable public var offset: Int { position }

  /// The identification of the fragment header; nil when none was met.
  @inlinable public var fragmentIdentification: UInt32? { identification }

  /// The fragment's offset in the original payload, in bytes; 0 for whole packets.
  @inlinable
  public var fragmentOffset: Int { Int(fragmentField & 0xfff8) }

  /// Whether the fragment header says that more fragments follow.
  @inlinable
  public var moreFragments: Bool { fragmentField & 1 != 0 }

  /// The next extension header, or nil at the end of the chain.
  @inlinable
  @_lifetime(copy self)
  public mutating func next() throws(MalformedPacket) -> IPv6ExtensionHeader? {
    guard protocolNumber.isExtensionHeader, fragmentOffset == 0 else { return nil }
    guard count < Self.limit else { throw .badExtensionChain }
    guard end >= offset &+ 8 else { throw .headerPastEnd(offset &+ 8) }
    guard let first = packet.loadBigEndian16(at: offset) else {
      throw .truncated(needed: offset &+ 8)
    }
    let units = Int(first & 0xff)
    let length: Int
    switch protocolNumber {
    case .fragment: length = 8
    case .authentication: length = (units &+ 2) &* 4
    default: length = (units &+ 1) &* 8
    }
    guard end >= offset &+ length else { throw .headerPastEnd(offset &+ length) }
    guard packet.byteCount >= offset &+ length else { throw .truncated(needed: offset &+ length) }
    if protocolNumber == .fragment {
      guard fragmentIdentification == nil else { throw .badExtensionChain }
      fragmentField = packet.bigEndian16(at: offset &+ 2)
      identification = packet.bigEndian32(at: offset &+ 4)
    }
    let header = IPv6ExtensionHeader(
      type: protocolNumber, offset: offset, bytes: packet.slice(from: offset, length: length))
    current = IPProtocol(rawValue: UInt8(truncatingIfNeeded: first >> 8))
    position &+= length
    count &+= 1
    return header
  }
}
