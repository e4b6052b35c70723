// SPDX-License-Identifier: Apache-2.0

/// An Ethernet protocol number.
public struct EtherType: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
  /// The number in host order; below 0x600 it is the length of an 802.3 frame.
  public let rawValue: UInt16

  /// Creates the type with the number `rawValue`; every number is valid.
  @inlinable
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// IPv4.
  @inlinable public static var ipv4: Self { Self(rawValue: 0x0800) }
  /// ARP.
  @inlinable public static var arp: Self { Self(rawValue: 0x0806) }
  /// A VLAN tag of 802.1Q.
  @inlinable public static var vlan: Self { Self(rawValue: 0x8100) }
  /// IPv6.
  @inlinable public static var ipv6: Self { Self(rawValue: 0x86dd) }
  /// A service tag of 802.1ad, the outer of two.
  @inlinable public static var serviceVLAN: Self { Self(rawValue: 0x88a8) }

  /// Whether a VLAN tag follows: 0x8100, 0x88a8 or the older 0x9100.
  @inlinable
  public var isVLAN: Bool { rawValue == 0x8100 || rawValue == 0x88a8 || rawValue == 0x9100 }
}

/// A borrowed Ethernet header with its VLAN tags and what was captured behind it.
///
/// A tag that the card or the kernel has taken out of the frame is not seen here.
public struct EthernetHeader: ~Escapable {
  /// The most stacked VLAN tags a frame may carry.
  @inlinable public static var tagLimit: Int { 8 }

  /// The frame from its destination address on.
  public let bytes: RawSpan
  /// The number of VLAN tags in the frame.
  public let tagCount: Int

  /// A view of the Ethernet header at the start of `bytes`, which must hold all of its tags.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) throws(MalformedPacket) {
    guard bytes.byteCount >= 14 else { throw .truncated(needed: 14) }
    var count = 0
    while EtherType(rawValue: bytes.bigEndian16(at: 12 &+ 4 &* count)).isVLAN {
      count &+= 1
      guard count <= Self.tagLimit else { throw .tooManyVLANTags }
      let needed = 14 &+ 4 &* count
      guard bytes.byteCount >= needed else { throw .truncated(needed: needed) }
    }
    self.bytes = bytes
    tagCount = count
  }

  /// The receiver.
  @inlinable public var destination: MACAddress { MACAddress(bytes, at: 0) }
  /// The sender.
  @inlinable public var source: MACAddress { MACAddress(bytes, at: 6) }
  /// The header's length in bytes with its VLAN tags.
  @inlinable public var headerLength: Int { 14 &+ 4 &* tagCount }

  /// The protocol of the payload, behind all VLAN tags.
  @inlinable
  public var etherType: EtherType {
    EtherType(rawValue: bytes.bigEndian16(at: headerLength &- 2))
  }

  /// The VLAN tag at `index`, 0 the outermost; nil when there are fewer.
  @inlinable
  public func vlanTag(at index: Int) -> VLANTag? {
    guard index >= 0, index < tagCount else { return nil }
    return VLANTag(rawValue: bytes.bigEndian32(at: 12 &+ 4 &* index))
  }

  /// What was captured behind the header, with any padding of a short frame.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self) get { bytes.slice(from: headerLength) }
  }
}
