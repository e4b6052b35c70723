// SPDX-License-Identifier: Apache-2.0

/// What the kernel says of a packet beside its bytes; optional values are nil where it said nothing.
///
/// Mirrors `FWPS_INCOMING_METADATA_VALUES0`. Valid only inside `classify`, like the packet.
public struct PacketMetadata: BitwiseCopyable, Sendable {
  /// The packet's id in its queue.
  ///
  /// `NFQA_PACKET_HDR`.
  public var packetID: UInt32 = 0
  /// The queue that brought it.
  public var queue: UInt16 = 0
  /// Its mark, all 32 bits.
  ///
  /// `NFQA_MARK`.
  public var mark: UInt32 = 0
  /// Arrival device index, 0 if none.
  ///
  /// `NFQA_IFINDEX_INDEV`.
  public var inputDevice: UInt32 = 0
  /// Departure device index, 0 if none.
  ///
  /// `NFQA_IFINDEX_OUTDEV`.
  public var outputDevice: UInt32 = 0
  /// Bridge port of arrival, 0 if none.
  ///
  /// `NFQA_IFINDEX_PHYSINDEV`.
  public var physicalInputDevice: UInt32 = 0
  /// Bridge port of departure, 0 if none.
  ///
  /// `NFQA_IFINDEX_PHYSOUTDEV`.
  public var physicalOutputDevice: UInt32 = 0
  /// What the arrival device is, `ARPHRD_*`; nil if there is none, or nobody asks.
  public var inputHardware: UInt16? {
    get { present.contains(.inputHardware) ? rawInputHardware : nil }
    set { set(newValue, \.rawInputHardware, .inputHardware) }
  }
  /// What the departure device is, `ARPHRD_*`; nil if there is none, or nobody asks.
  public var outputHardware: UInt16? {
    get { present.contains(.outputHardware) ? rawOutputHardware : nil }
    set { set(newValue, \.rawOutputHardware, .outputHardware) }
  }
  /// The packet's whole length in bytes, which may be more than was copied.
  ///
  /// `NFQA_CAP_LEN`.
  public var originalLength: UInt32 = 0
  /// `skb->priority`.
  ///
  /// `NFQA_PRIORITY`.
  public var priority: UInt32 = 0
  /// Arrival in microseconds since 1970, 0 if unknown.
  ///
  /// `NFQA_TIMESTAMP`.
  public var timestamp: UInt64 = 0
  /// Sender's hardware address, first byte lowest.
  ///
  /// `NFQA_HWADDR`.
  public var hardwareAddress: UInt64 = 0
  /// Its length in bytes, 0 if unknown.
  public var hardwareAddressLength: UInt8 = 0
  /// The transport checksum is still to be filled in.
  ///
  /// `NFQA_SKB_CSUMNOTREADY`.
  public var isChecksumPartial = false
  /// One packet that will be cut into segments.
  ///
  /// `NFQA_SKB_GSO`.
  public var isSegmentationPending = false
  /// Nobody has verified the checksum.
  ///
  /// `NFQA_SKB_CSUM_NOTVERIFIED`.
  public var isChecksumUnverified = false
  /// Injected by this engine.
  public var isInjected = false
  /// Its flow was authorized under an earlier policy and is authorized again.
  package var isReauthorization = false
  // Raw values beside one set of bits: an optional each would cost a test on the packet path.
  @usableFromInline package var present: Present = []
  @usableFromInline package var rawUserID: UInt32 = 0
  @usableFromInline package var rawGroupID: UInt32 = 0
  @usableFromInline package var rawConntrackID: UInt32 = 0
  @usableFromInline package var rawConntrackState: UInt32 = 0
  @usableFromInline package var rawConntrackMark: UInt32 = 0
  @usableFromInline package var rawInputHardware: UInt16 = 0
  @usableFromInline package var rawOutputHardware: UInt16 = 0
  @usableFromInline package var rawDropReason: UInt32 = 0
  @usableFromInline package var rawProcessID: UInt32 = 0
  @usableFromInline package var rawProgram: UInt32 = 0
  @usableFromInline package var rawVLANTCI: UInt16 = 0
  @usableFromInline package var rawVLANProtocol: UInt16 = 0

  /// Metadata with nothing set.
  @inlinable
  public init() {}
}

extension PacketMetadata {
  /// The optional values, by the bit that says that one is set.
  @usableFromInline
  package struct Present: OptionSet, BitwiseCopyable, Sendable {
    @usableFromInline package let rawValue: UInt16
    @inlinable package init(rawValue: UInt16) { self.rawValue = rawValue }
    @inlinable package static var userID: Present { Present(rawValue: 1) }
    @inlinable package static var groupID: Present { Present(rawValue: 2) }
    @inlinable package static var conntrackState: Present { Present(rawValue: 4) }
    @inlinable package static var conntrackID: Present { Present(rawValue: 8) }
    @inlinable package static var conntrackMark: Present { Present(rawValue: 16) }
    @inlinable package static var vlan: Present { Present(rawValue: 32) }
    @inlinable package static var inputHardware: Present { Present(rawValue: 64) }
    @inlinable package static var outputHardware: Present { Present(rawValue: 128) }
    @inlinable package static var dropReason: Present { Present(rawValue: 256) }
    @inlinable package static var processID: Present { Present(rawValue: 512) }
    @inlinable package static var program: Present { Present(rawValue: 1024) }
  }

  /// Owner of the sending socket, where a registration reads it.
  ///
  /// `NFQA_UID`.
  public var userID: UInt32? {
    get { present.contains(.userID) ? rawUserID : nil }
    set { set(newValue, \.rawUserID, .userID) }
  }

  /// Group of the sending socket, where a registration reads it.
  ///
  /// `NFQA_GID`.
  public var groupID: UInt32? {
    get { present.contains(.groupID) ? rawGroupID : nil }
    set { set(newValue, \.rawGroupID, .groupID) }
  }

  /// The process that has the flow's socket on this host: of a flow's first packet, where the policy
  /// asks for it and it could be found.
  ///
  /// Mirrors `processId` of `FWPS_INCOMING_METADATA_VALUES0`; its path is `Classification.process`.
  public var processID: UInt32? {
    get { present.contains(.processID) ? rawProcessID : nil }
    set { set(newValue, \.rawProcessID, .processID) }
  }

  /// The place of that process' path among the paths of the policy's conditions.
  package var program: UInt32? {
    get { present.contains(.program) ? rawProgram : nil }
    set { set(newValue, \.rawProgram, .program) }
  }

  /// The conntrack entry's id, where a registration reads it.
  ///
  /// `CTA_ID`.
  public var conntrackID: UInt32? {
    get { present.contains(.conntrackID) ? rawConntrackID : nil }
    set { set(newValue, \.rawConntrackID, .conntrackID) }
  }

  /// The conntrack state, where a registration reads it.
  ///
  /// `NFQA_CT_INFO`.
  public var conntrackState: UInt32? {
    get { present.contains(.conntrackState) ? rawConntrackState : nil }
    set { set(newValue, \.rawConntrackState, .conntrackState) }
  }

  /// The conntrack mark, where a registration reads it.
  ///
  /// `CTA_MARK`.
  public var conntrackMark: UInt32? {
    get { present.contains(.conntrackMark) ? rawConntrackMark : nil }
    set { set(newValue, \.rawConntrackMark, .conntrackMark) }
  }

  /// Why it was dropped, at the discard layers: the kernel's number, 0 for a filter's block.
  ///
  /// `DropReasons.ofKernel` names the numbers, which change from kernel to kernel. Mirrors
  /// `FWPS_DISCARD_METADATA0`.
  public var dropReason: UInt32? {
    get { present.contains(.dropReason) ? rawDropReason : nil }
    set { set(newValue, \.rawDropReason, .dropReason) }
  }

  /// The whole VLAN TCI.
  ///
  /// `NFQA_VLAN`.
  public var vlanTCI: UInt16? {
    get { present.contains(.vlan) ? rawVLANTCI : nil }
    set { set(newValue, \.rawVLANTCI, .vlan) }
  }

  /// The VLAN's EtherType (0x8100, 0x88a8).
  ///
  /// `NFQA_VLAN_PROTO`.
  public var vlanProtocol: UInt16? {
    get { present.contains(.vlan) ? rawVLANProtocol : nil }
    set { set(newValue, \.rawVLANProtocol, .vlan) }
  }

  private mutating func set<Value: FixedWidthInteger>(
    _ value: Value?, _ place: WritableKeyPath<PacketMetadata, Value>, _ bit: Present
  ) {
    self[keyPath: place] = value ?? 0
    if value == nil { present.remove(bit) } else { present.insert(bit) }
  }
}
