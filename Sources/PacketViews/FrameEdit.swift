// SPDX-License-Identifier: Apache-2.0

/// Checked rewriting of an Ethernet frame's MAC header in the caller's buffer; allocates nothing.
///
/// Each change is refused with nothing altered when it would not leave a frame. A VLAN tag that is
/// put on takes four bytes before the frame, and one that is taken off leaves them there, so that
/// only the addresses move: the frame is then the `length` bytes from `start` on.
public struct FrameEdit: ~Copyable, ~Escapable {
  var bytes: MutableRawSpan
  /// Where in the buffer the frame begins.
  public private(set) var start: Int
  /// The frame's length in bytes, or that of the part of it which is in the buffer.
  public private(set) var length: Int
  /// The number of VLAN tags.
  public private(set) var tagCount: Int
  private let format: FrameFormat

  /// Begins to edit a frame, whose payload need not be in the buffer.
  ///
  /// - Parameters:
  ///   - bytes: The buffer; get it by `mutablePacketBytes` of a `MutableSpan`.
  ///   - start: Where in it the frame begins; room before it is room for tags.
  ///   - length: How many bytes of the frame are in it, at least up to the network header.
  ///   - layout: The layout parsed from the frame.
  /// - Throws: `malformed` when the MAC header is, `noMACHeader` when there is none, `truncated` when
  ///   the buffer does not hold it.
  @_lifetime(copy bytes)
  public init(
    _ bytes: consuming MutableRawSpan, start: Int, length: Int, layout: FrameLayout
  ) throws(FrameRewriteError) {
    switch layout.malformation {
    case .headerCut: throw .malformed(.headerCut)
    case .tagCut: throw .malformed(.tagCut)
    case .tooManyTags: throw .malformed(.tooManyTags)
    default: break
    }
    guard layout.hasAddresses else { throw .noMACHeader }
    guard start >= 0, start <= bytes.byteCount, length >= layout.networkOffset,
      length <= bytes.byteCount &- start
    else { throw .truncated }
    self.start = start
    self.length = length
    tagCount = layout.tagCount
    format = layout.format
    self.bytes = bytes
  }

  /// The frame as it is now, as far as the buffer holds it.
  public var frame: RawSpan {
    @_lifetime(borrow self) get { bytes.bytes.slice(from: start, length: length) }
  }

  /// The receiver.
  public var destination: MACAddress { MACAddress(bytes.bytes, at: start) }
  /// The sender.
  public var source: MACAddress { MACAddress(bytes.bytes, at: start &+ 6) }
  /// The outermost VLAN tag.
  public var outerTag: VLANTag? {
    tagCount > 0 ? VLANTag(rawValue: bytes.bytes.bigEndian32(at: start &+ 12)) : nil
  }
}

// MARK: - Addresses and type

extension FrameEdit {
  /// Sets the receiver.
  @_lifetime(self: copy self)
  public mutating func setDestination(_ address: MACAddress) {
    store(address, at: start)
  }

  /// Sets the sender, which must be one station.
  @_lifetime(self: copy self)
  public mutating func setSource(_ address: MACAddress) throws(FrameRewriteError) {
    guard !address.isMulticast else { throw .groupSource(address) }
    store(address, at: start &+ 6)
  }

  @_lifetime(self: copy self)
  private mutating func store(_ address: MACAddress, at offset: Int) {
    bytes.storeBigEndian32(UInt32(truncatingIfNeeded: address.rawValue >> 16), at: offset)
    bytes.storeBigEndian16(UInt16(truncatingIfNeeded: address.rawValue), at: offset &+ 4)
  }

  /// Sets what the frame says it carries, behind all tags; what it carries stays.
  ///
  /// A length or a VLAN tag's protocol is refused, and so are 802.3 frames that have no EtherType.
  @_lifetime(self: copy self)
  public mutating func setEtherType(_ type: EtherType) throws(FrameRewriteError) {
    guard type.rawValue >= 0x600, !type.isVLAN else { throw .badEtherType(type.rawValue) }
    let field = start &+ 12 &+ 4 &* tagCount
    switch format {
    case .ethernetII: bytes.storeBigEndian16(type.rawValue, at: field)
    case .snap: bytes.storeBigEndian16(type.rawValue, at: field &+ 8)
    case .llc, .rawIP: throw .noEtherType
    }
  }
}

// MARK: - VLAN tags

extension FrameEdit {
  /// Puts a VLAN tag before all others.
  @_lifetime(self: copy self)
  public mutating func pushTag(_ tag: VLANTag) throws(FrameRewriteError) {
    guard tag.tagProtocol.isVLAN else { throw .badTagProtocol(tag.tagProtocol.rawValue) }
    guard tagCount < EthernetHeader.tagLimit else { throw .tooManyTags }
    guard start >= 4 else { throw .noRoom }
    moveAddresses(to: start &- 4)
    bytes.storeBigEndian32(tag.rawValue, at: start &+ 12)
    length &+= 4
    tagCount &+= 1
  }

  /// Takes the outermost VLAN tag off.
  @_lifetime(self: copy self)
  @discardableResult
  public mutating func popTag() throws(FrameRewriteError) -> VLANTag {
    guard let tag = outerTag else { throw .untagged }
    moveAddresses(to: start &+ 4)
    length &-= 4
    tagCount &-= 1
    return tag
  }

  /// Sets the whole control information of the outermost VLAN tag.
  @_lifetime(self: copy self)
  public mutating func setTagControl(_ control: UInt16) throws(FrameRewriteError) {
    guard tagCount > 0 else { throw .untagged }
    bytes.storeBigEndian16(control, at: start &+ 14)
  }

  @_lifetime(self: copy self)
  private mutating func moveAddresses(to target: Int) {
    let first = bytes.bytes.bigEndian64(at: start)
    let last = bytes.bytes.bigEndian32(at: start &+ 8)
    bytes.storeBigEndian64(first, at: target)
    bytes.storeBigEndian32(last, at: target &+ 8)
    start = target
  }
}
