// SPDX-License-Identifier: Apache-2.0

/// A borrowed IPv4 header with its options and what was captured behind it.
public struct IPv4Header: ~Escapable {
  /// The header and all behind it.
  public let bytes: RawSpan

  /// A view of the IPv4 header at the start of `bytes`, which must hold all of it.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) throws(MalformedPacket) {
    guard let first = bytes.loadByte(at: 0) else { throw .truncated(needed: 20) }
    guard first >> 4 == 4 else { throw .badVersion(first >> 4) }
    let length = Int(first & 0xf) &* 4
    guard length >= 20 else { throw .badHeaderLength(length) }
    guard bytes.byteCount >= length else { throw .truncated(needed: length) }
    self.bytes = bytes
  }

  /// The header's length in bytes with options, 20 to 60.
  @inlinable public var headerLength: Int { Int(bytes.byte(at: 0) & 0xf) &* 4 }
  /// The differentiated services code point, 0 to 63.
  @inlinable public var dscp: UInt8 { bytes.byte(at: 1) >> 2 }
  /// The two explicit congestion notification bits.
  @inlinable public var ecn: UInt8 { bytes.byte(at: 1) & 3 }
  /// The packet's length in bytes with header; 0 in a BIG TCP segment.
  @inlinable public var totalLength: Int { Int(bytes.bigEndian16(at: 2)) }
  /// What ties the fragments of a datagram together.
  @inlinable public var identification: UInt16 { bytes.bigEndian16(at: 4) }
  /// The flags and the offset in eight-byte units, as on the wire.
  @inlinable public var fragmentField: UInt16 { bytes.bigEndian16(at: 6) }
  /// Whether routers may not fragment the packet.
  @inlinable public var isDontFragment: Bool { fragmentField & 0x4000 != 0 }
  /// Whether more fragments follow.
  @inlinable public var moreFragments: Bool { fragmentField & 0x2000 != 0 }
  /// The fragment's offset in the datagram's payload, in bytes.
  @inlinable public var fragmentOffset: Int { Int(fragmentField & 0x1fff) &* 8 }
  /// The time to live in hops.
  @inlinable public var timeToLive: UInt8 { bytes.byte(at: 8) }
  /// The protocol of the payload.
  @inlinable public var protocolNumber: IPProtocol { IPProtocol(rawValue: bytes.byte(at: 9)) }
  /// The header checksum field.
  @inlinable public var checksum: UInt16 { bytes.bigEndian16(at: 10) }
  /// The source address.
  @inlinable public var sourceAddress: IPAddress { IPAddress(v4: bytes.bigEndian32(at: 12)) }
  /// The destination address; with a source route, the next hop.
  @inlinable public var destinationAddress: IPAddress { IPAddress(v4: bytes.bigEndian32(at: 16)) }

  /// The bytes of the options, padding included.
  @inlinable
  public var optionBytes: RawSpan {
    @_lifetime(copy self) get { bytes.slice(from: 20, length: headerLength &- 20) }
  }

  /// A walk over the options.
  @inlinable
  public var options: HeaderOptions {
    @_lifetime(copy self) get { HeaderOptions(optionBytes) }
  }

  /// Whether a loose or strict source route still has hops to visit.
  @inlinable
  public var isSourceRouted: Bool {
    var walk = options
    while let option = walk.next() {
      guard option.kind == 131 || option.kind == 137 else { continue }
      // The pointer counts from the kind byte, from 1; past the list, the route is used up.
      if Int(option.value.byte(at: 0)) <= option.value.byteCount &+ 2 { return true }
    }
    return false
  }

  /// What was captured of the payload.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self) get {
      let length = totalLength == 0 ? Int.max : totalLength &- headerLength
      return bytes.slice(from: headerLength, length: length)
    }
  }
}
