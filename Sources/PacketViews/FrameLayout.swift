// SPDX-License-Identifier: Apache-2.0

/// How a frame says what it carries.
public enum FrameFormat: UInt8, Sendable, BitwiseCopyable {
  /// An EtherType stands behind addresses and tags.
  case ethernetII
  /// A length stands there, and an LLC header behind it.
  case llc
  /// A length stands there, and LLC and SNAP headers that name an EtherType.
  case snap
  /// There is no MAC header; the frame begins with an IP header.
  case rawIP
}

/// Why a frame is not what it claims to be.
public enum FrameMalformation: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
  /// It ends within its addresses or its type.
  case headerCut
  /// It ends within a VLAN tag or the type behind it.
  case tagCut
  /// It has more VLAN tags than `EthernetHeader.tagLimit`.
  case tooManyTags
  /// The number where type or length belongs is neither: 1501 to 1535.
  case undefinedType
  /// The declared length is more than what follows.
  case lengthPastEnd
  /// The declared length has no room for an LLC header.
  case llcCut
  /// It ends within the IP or ARP header that it announces.
  case networkHeaderCut
  /// It has no MAC header, and what it begins with is no IP header.
  case badVersion
}

/// Where the parts of a frame are and what its MAC header says, found once per frame.
///
/// Plain integers in host order; offsets and lengths in bytes from the frame's first byte on. Any
/// bytes have a layout: what cannot be read is 0 or nil, and `malformation` says why. A VLAN tag
/// that the kernel keeps beside the frame must have been put back.
public struct FrameLayout: BitwiseCopyable, Sendable, Equatable {
  /// The receiver; 0 without `hasAddresses`.
  public let destination: MACAddress
  /// The sender; 0 without `hasAddresses`.
  public let source: MACAddress
  /// What is wrong with the frame, nil if nothing is.
  public let malformation: FrameMalformation?
  /// How the frame says what it carries.
  public let format: FrameFormat
  /// What the frame carries, behind all tags: SNAP's EtherType where there is one.
  ///
  /// Of other 802.3 frames, and of those whose SNAP header is a vendor's own, it is the declared
  /// length, which is below 0x600.
  public let etherType: EtherType
  @usableFromInline let outerBits: UInt32
  @usableFromInline let innerBits: UInt32
  @usableFromInline let declaredBits: UInt16
  @usableFromInline let captured: UInt32
  @usableFromInline let tags: UInt8
  @usableFromInline let macLength: UInt8
  @usableFromInline let networkStart: UInt8

  /// The shortest frame that a wire carries, without its check sequence.
  @inlinable public static var minimumLength: Int { 60 }

  /// Reads the Ethernet frame at the start of `bytes`; never fails.
  @inlinable
  public init(parsing bytes: RawSpan) {
    let count = bytes.byteCount
    guard count >= 14 else {
      self.init(bytes, malformation: .headerCut, macLength: count, networkStart: count)
      return
    }
    var problem: FrameMalformation?
    var (outer, inner): (UInt32, UInt32) = (0, 0)
    var found = 0
    var field = 12
    var type = EtherType(rawValue: bytes.bigEndian16(at: field))
    while type.isVLAN {
      guard count >= field &+ 6 else {
        problem = .tagCut
        break
      }
      guard found < EthernetHeader.tagLimit else {
        problem = .tooManyTags
        break
      }
      let tag = bytes.bigEndian32(at: field)
      if found == 0 { outer = tag } else if found == 1 { inner = tag }
      found &+= 1
      field &+= 4
      type = EtherType(rawValue: bytes.bigEndian16(at: field))
    }
    let header = field &+ 2
    let body = Body(bytes, behind: header, type: type)
    self.init(
      bytes, destination: MACAddress(bytes, at: 0), source: MACAddress(bytes, at: 6),
      malformation: problem ?? body.malformation, format: body.format, etherType: body.etherType,
      outer: outer, inner: inner, declared: body.declaredLength, tags: found, macLength: header,
      networkStart: body.offset)
  }

  /// Reads a frame of a device without MAC headers, at whose start the IP header is; never fails.
  @inlinable
  public init(parsingRawIP bytes: RawSpan) {
    let count = bytes.byteCount
    switch bytes.byte(at: 0) >> 4 {
    case 4:
      self.init(
        bytes, malformation: count < 20 ? .networkHeaderCut : nil, format: .rawIP, etherType: .ipv4)
    case 6:
      self.init(
        bytes, malformation: count < 40 ? .networkHeaderCut : nil, format: .rawIP, etherType: .ipv6)
    default:
      self.init(bytes, malformation: count == 0 ? .headerCut : .badVersion, format: .rawIP)
    }
  }

  @inlinable
  init(
    _ bytes: RawSpan, destination: MACAddress = MACAddress(rawValue: 0),
    source: MACAddress = MACAddress(rawValue: 0), malformation: FrameMalformation?,
    format: FrameFormat = .ethernetII, etherType: EtherType = EtherType(rawValue: 0),
    outer: UInt32 = 0, inner: UInt32 = 0, declared: UInt16 = 0, tags: Int = 0, macLength: Int = 0,
    networkStart: Int = 0
  ) {
    self.destination = destination
    self.source = source
    self.malformation = malformation
    self.format = format
    self.etherType = etherType
    (outerBits, innerBits, declaredBits) = (outer, inner, declared)
    captured = UInt32(clamping: bytes.byteCount)
    // At most 12 + 8 * 4 + 2, and 8 more behind SNAP.
    self.tags = UInt8(truncatingIfNeeded: tags)
    self.macLength = UInt8(truncatingIfNeeded: macLength)
    self.networkStart = UInt8(truncatingIfNeeded: networkStart)
  }
}

// MARK: - MAC header

extension FrameLayout {
  /// Whether the frame has Ethernet addresses: it is an Ethernet frame and not cut within them.
  @inlinable public var hasAddresses: Bool { format != .rawIP && malformation != .headerCut }

  /// The length of the MAC header with its VLAN tags; 0 on devices without MAC headers.
  @inlinable public var headerLength: Int { Int(macLength) }

  /// Where the network header begins: behind the MAC header, and behind LLC and SNAP where these
  /// name an EtherType.
  @inlinable public var networkOffset: Int { Int(networkStart) }

  /// The payload's length as an 802.3 frame declares it, padding excluded; nil for all others.
  @inlinable
  public var declaredLength: Int? {
    format == .llc || format == .snap ? Int(declaredBits) : nil
  }

  /// How many bytes of the frame were parsed.
  @inlinable public var capturedLength: Int { Int(captured) }

  /// Whether the frame is shorter than a wire carries it; the sender's card pads it.
  @inlinable
  public var isRunt: Bool { format != .rawIP && capturedLength < Self.minimumLength }

  /// Whether nothing is wrong with the frame.
  @inlinable public var isWellFormed: Bool { malformation == nil }
}

// MARK: - VLAN tags

extension FrameLayout {
  /// The number of VLAN tags.
  @inlinable public var tagCount: Int { Int(tags) }

  /// The outermost VLAN tag, of whatever protocol.
  @inlinable public var outerTag: VLANTag? { tags > 0 ? VLANTag(rawValue: outerBits) : nil }

  /// The VLAN tag behind the outermost.
  @inlinable public var innerTag: VLANTag? { tags > 1 ? VLANTag(rawValue: innerBits) : nil }

  /// The whole control information of the outermost VLAN tag, 0 without one.
  ///
  /// What WFP's field `VLAN_ID` holds.
  @inlinable public var tagControl: UInt16 { UInt16(truncatingIfNeeded: outerBits) }
}

// MARK: - Parts of the frame

extension FrameLayout {
  /// The MAC header with its tags, as far as captured.
  @inlinable
  @_lifetime(copy frame)
  public func macHeader(in frame: RawSpan) -> RawSpan {
    frame.slice(from: 0, length: headerLength)
  }

  /// The network header and all behind it, without the padding behind a declared length.
  @inlinable
  @_lifetime(copy frame)
  public func network(in frame: RawSpan) -> RawSpan {
    guard let declaredLength else { return frame.slice(from: networkOffset) }
    let end = headerLength &+ declaredLength
    return frame.slice(from: networkOffset, length: end &- networkOffset)
  }

  /// A hash of the frame's flow: of the IP packet in it where there is one, as `PacketLayout` gives
  /// it, else of addresses, outer VLAN and EtherType.
  @inlinable
  public func flowHash(in frame: RawSpan) -> UInt64 {
    if etherType == .ipv4 || etherType == .ipv6,
      let packet = try? PacketLayout(parsing: network(in: frame))
    {
      return packet.flowHash
    }
    let kind = UInt64(etherType.rawValue) << 48 | UInt64(tagControl & 0xfff) << 32
    return FlowMixer.mix(
      source.rawValue ^ FlowMixer.second, destination.rawValue ^ kind ^ FlowMixer.third)
  }
}
