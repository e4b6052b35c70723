// SPDX-License-Identifier: Apache-2.0

/// Whether the transport checksum in a packet's bytes is finished.
public enum ChecksumState: Sendable, Hashable, BitwiseCopyable {
  /// The field holds the checksum as it goes on the wire.
  case complete
  /// The field holds the sum of the pseudo-header only; the kernel's `CHECKSUM_PARTIAL`.
  case partial
}

/// Checked rewriting of a whole IP packet in the caller's buffer; allocates nothing.
///
/// Each change is refused with nothing altered when the packet could not be made right again. After
/// the last one, `repairChecksums()` puts all checksums right. The packet is then the first `length`
/// bytes of the buffer; `layout` stays what it was at the start.
public struct PacketEdit: ~Copyable, ~Escapable {
  var bytes: MutableRawSpan
  var state: ChecksumState
  var segmentEnd: Int

  /// What the packet was before the edit; its offsets stay true.
  public let layout: PacketLayout

  /// The packet's length in bytes, which `replacePayload(with:)` changes.
  public private(set) var length: Int

  /// Begins to edit a packet at the start of `bytes`, which may have room behind it.
  ///
  /// - Parameters:
  ///   - bytes: The buffer; get it by `mutablePacketBytes` of a `MutableSpan`.
  ///   - length: How many bytes of the buffer were captured.
  ///   - layout: The layout parsed from these bytes.
  ///   - checksum: Whether the transport checksum is finished in these bytes.
  /// - Throws: `truncated` or `unknownLength` when the bytes are not all of the packet.
  @_lifetime(copy bytes)
  public init(
    _ bytes: consuming MutableRawSpan, length: Int, layout: PacketLayout,
    checksum: ChecksumState = .complete
  ) throws(RewriteError) {
    guard layout.totalLength != 0 else { throw .unknownLength }
    guard layout.totalLength <= length, length <= bytes.byteCount else { throw .truncated }
    self.layout = layout
    self.length = layout.totalLength
    state = checksum
    segmentEnd = layout.segmentEnd
    self.bytes = bytes
  }

  /// The packet as it is now.
  public var packet: RawSpan {
    @_lifetime(borrow self) get { bytes.bytes.slice(from: 0, length: length) }
  }
}

// MARK: - Network header

extension PacketEdit {
  /// Sets IPv4's time to live or IPv6's hop limit.
  @_lifetime(self: copy self)
  public mutating func setTimeToLive(_ hops: UInt8) {
    bytes.storeByte(hops, at: layout.version == .v4 ? 8 : 7)
  }

  /// Sets the differentiated services code point, 0 to 63, and leaves the ECN bits.
  @_lifetime(self: copy self)
  public mutating func setDSCP(_ codePoint: UInt8) throws(RewriteError) {
    guard codePoint < 64 else { throw .badDSCP(codePoint) }
    let field = bytes.bytes.bigEndian16(at: 0)
    let value = UInt16(codePoint)
    if layout.version == .v4 {
      bytes.storeBigEndian16(field & 0xff03 | value << 2, at: 0)
    } else {
      bytes.storeBigEndian16(field & 0xf03f | value << 6, at: 0)
    }
  }

  /// Sets the source address, which must be of the packet's version.
  @_lifetime(self: copy self)
  public mutating func setSourceAddress(_ address: IPAddress) throws(RewriteError) {
    try setAddress(address, at: layout.version == .v4 ? 12 : 8)
  }

  /// Sets the destination address, which must be of the packet's version.
  @_lifetime(self: copy self)
  public mutating func setDestinationAddress(_ address: IPAddress) throws(RewriteError) {
    try setAddress(address, at: layout.version == .v4 ? 16 : 24)
  }

  @_lifetime(self: copy self)
  private mutating func setAddress(_ new: IPAddress, at offset: Int) throws(RewriteError) {
    guard new.version == layout.version else { throw .wrongVersion }
    guard layout.transportProtocol.survivesAddressChange(over: layout.version) else {
      throw .unsupportedProtocol(layout.transportProtocol.rawValue)
    }
    try requireRepairable()
    let old = address(at: offset)
    if layout.isFirstFragment, layout.transportProtocol != .icmp {
      updateChecksum { checksum in
        InternetChecksum.updated(checksum, replacing: old, with: new)
      }
    }
    if new.version == .v4 {
      bytes.storeBigEndian32(UInt32(truncatingIfNeeded: new.low), at: offset)
    } else {
      bytes.storeBigEndian64(new.high, at: offset)
      bytes.storeBigEndian64(new.low, at: offset &+ 8)
    }
  }
}

// MARK: - Transport header and payload

extension PacketEdit {
  /// Sets the source port of TCP or UDP.
  @_lifetime(self: copy self)
  public mutating func setSourcePort(_ port: UInt16) throws(RewriteError) {
    try setPort(port, at: 0)
  }

  /// Sets the destination port of TCP or UDP.
  @_lifetime(self: copy self)
  public mutating func setDestinationPort(_ port: UInt16) throws(RewriteError) {
    try setPort(port, at: 2)
  }

  @_lifetime(self: copy self)
  private mutating func setPort(_ new: UInt16, at field: Int) throws(RewriteError) {
    if layout.fragmentOffset > 0 { throw .fragment }
    guard layout.hasPorts, let start = layout.transportOffset else { throw .noPorts }
    guard layout.checksumOffset != nil else {
      throw .unsupportedProtocol(layout.transportProtocol.rawValue)
    }
    try requireRepairable()
    let old = bytes.bytes.bigEndian16(at: start &+ field)
    if layout.isFirstFragment {
      updateChecksum { checksum in
        InternetChecksum.updated(checksum, replacing: old, with: new)
      }
    }
    bytes.storeBigEndian16(new, at: start &+ field)
  }

  /// Replaces what follows the TCP, UDP, ICMP or ICMPv6 header and sets the length fields.
  ///
  /// A UDP datagram loses any slack behind it. TCP sequence numbers are the caller's business.
  @_lifetime(self: copy self)
  public mutating func replacePayload(with payload: RawSpan) throws(RewriteError) {
    if layout.isFragment { throw .fragment }
    guard layout.checksumOffset != nil, let start = layout.transportOffset else {
      throw .unsupportedProtocol(layout.transportProtocol.rawValue)
    }
    try requireRepairable()
    let newLength = layout.payloadOffset &+ payload.byteCount
    guard newLength <= 65535 else { throw .tooLong(newLength) }
    guard bytes.copyBytes(payload, to: layout.payloadOffset) else { throw .noRoom(newLength) }
    if layout.version == .v4 {
      bytes.storeBigEndian16(UInt16(truncatingIfNeeded: newLength), at: 2)
    } else {
      bytes.storeBigEndian16(UInt16(truncatingIfNeeded: newLength &- 40), at: 4)
    }
    if layout.transportProtocol == .udp {
      bytes.storeBigEndian16(UInt16(truncatingIfNeeded: newLength &- start), at: start &+ 4)
    }
    length = newLength
    segmentEnd = newLength
  }
}

extension IPProtocol {
  /// Whether a packet stays right when its addresses change and we repair what checksum we can.
  func survivesAddressChange(over version: IPVersion) -> Bool {
    if InternetChecksum.fieldOffset(self, over: version) != nil { return true }
    switch self {
    case .ipv4, .ipv6, .gre, .esp, .sctp, .none: return true
    case .igmp: return version == .v4
    default: return false
    }
  }
}
