// SPDX-License-Identifier: Apache-2.0

extension FrameLayout {
  /// What stands behind the MAC header of a frame, by its type or length.
  @usableFromInline
  struct Body {
    @usableFromInline var etherType: EtherType
    @usableFromInline var format = FrameFormat.ethernetII
    @usableFromInline var offset: Int
    @usableFromInline var declaredLength: UInt16 = 0
    @usableFromInline var malformation: FrameMalformation?

    @inlinable
    init(_ bytes: RawSpan, behind header: Int, type: EtherType) {
      etherType = type
      offset = header
      guard type.rawValue < 0x600 else {
        checkNetworkHeader(bytes)
        return
      }
      guard type.rawValue <= 1500 else {
        malformation = .undefinedType
        return
      }
      readLLC(bytes)
    }

    /// Reads the LLC header, and SNAP's behind it, of a frame with a length.
    @inlinable
    mutating func readLLC(_ bytes: RawSpan) {
      format = .llc
      declaredLength = etherType.rawValue
      guard declaredLength >= 3 else {
        malformation = .llcCut
        return
      }
      if offset &+ Int(declaredLength) > bytes.byteCount { malformation = .lengthPastEnd }
      // Unnumbered information between the SNAP access points; RFC 1042's zero organisation, or
      // 0000f8 of 802.1H, has EtherTypes.
      guard declaredLength >= 8, bytes.bigEndian32(at: offset) >> 8 == 0xaaaa03 else { return }
      let organisation = bytes.bigEndian32(at: offset &+ 2) & 0xff_ffff
      guard organisation == 0x00_0000 || organisation == 0x00_00f8,
        let type = bytes.loadBigEndian16(at: offset &+ 6)
      else { return }
      etherType = EtherType(rawValue: type)
      format = .snap
      offset &+= 8
      if malformation == nil { checkNetworkHeader(bytes) }
    }

    @inlinable
    mutating func checkNetworkHeader(_ bytes: RawSpan) {
      let needed =
        switch etherType {
        case .ipv4: 20
        case .ipv6: 40
        case .arp: 8
        default: 0
        }
      if bytes.byteCount < offset &+ needed { malformation = .networkHeaderCut }
    }
  }
}

extension FrameMalformation: CustomStringConvertible {
  /// A sentence for logs.
  public var description: String {
    switch self {
    case .headerCut: "frame ends within its addresses or its type"
    case .tagCut: "frame ends within a VLAN tag"
    case .tooManyTags: "too many stacked VLAN tags"
    case .undefinedType: "the number behind the addresses is neither a type nor a length"
    case .lengthPastEnd: "declared length is more than what follows"
    case .llcCut: "declared length has no room for an LLC header"
    case .networkHeaderCut: "frame ends within its IP or ARP header"
    case .badVersion: "frame has no MAC header and begins with no IP header"
    }
  }
}
