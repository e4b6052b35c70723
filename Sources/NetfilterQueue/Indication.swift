// SPDX-License-Identifier: Apache-2.0

/// What the kernel says of one queued packet, apart from its bytes.
///
/// All integers in host order.
public struct Indication: BitwiseCopyable, Sendable {
  /// Which optional attributes came with the packet.
  public struct Attributes: OptionSet, BitwiseCopyable, Sendable {
    /// The bits.
    public let rawValue: UInt16
    /// From bits.
    @inlinable
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// `userID` is set.
    ///
    /// `NFQA_UID`.
    public static let userID = Attributes(rawValue: 1)
    /// `groupID` is set.
    ///
    /// `NFQA_GID`.
    public static let groupID = Attributes(rawValue: 2)
    /// `conntrackState` is set.
    ///
    /// `NFQA_CT_INFO`.
    public static let conntrackState = Attributes(rawValue: 4)
    /// `conntrackID` is set.
    ///
    /// `CTA_ID`.
    public static let conntrackID = Attributes(rawValue: 8)
    /// `conntrackMark` is set.
    ///
    /// `CTA_MARK`.
    public static let conntrackMark = Attributes(rawValue: 16)
    /// `vlanTCI` and `vlanProtocol` are set.
    ///
    /// `NFQA_VLAN`.
    public static let vlan = Attributes(rawValue: 32)
    /// `timestamp` is set.
    ///
    /// `NFQA_TIMESTAMP`.
    public static let timestamp = Attributes(rawValue: 64)
    /// `hardwareAddress` is set.
    ///
    /// `NFQA_HWADDR`.
    public static let hardwareAddress = Attributes(rawValue: 128)
    /// `linkHeaderOffset` and `linkHeaderLength` are set.
    ///
    /// `NFQA_L2HDR`.
    public static let linkHeader = Attributes(rawValue: 256)
    /// `priority` is set.
    ///
    /// `NFQA_PRIORITY`.
    public static let priority = Attributes(rawValue: 512)
    /// `originalLength` says more than was copied.
    ///
    /// `NFQA_CAP_LEN`.
    public static let truncated = Attributes(rawValue: 1024)
  }

  /// Checksum and segmentation state of the packet.
  ///
  /// `NFQA_SKB_INFO`.
  public struct BufferState: OptionSet, BitwiseCopyable, Sendable {
    /// The bits, as in `nfnetlink_queue.h`.
    public let rawValue: UInt32
    /// From bits.
    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The transport checksum is still to be filled in by the device.
    public static let checksumNotReady = BufferState(rawValue: 1)
    /// One packet that will be cut into segments.
    public static let segmentationPending = BufferState(rawValue: 2)
    /// Nobody has verified the checksum.
    public static let checksumNotVerified = BufferState(rawValue: 4)
  }

  /// The packet's id in its queue.
  ///
  /// `NFQA_PACKET_HDR`.
  public var id: UInt32 = 0
  /// The queue's number.
  public var queue: UInt16 = 0
  /// The EtherType (0x0800, 0x86dd, ...).
  public var etherType: UInt16 = 0
  /// The netfilter hook (`NF_INET_*`, or `NF_BR_*` in the bridge family).
  public var hook: UInt8 = 0
  /// The hook's protocol family (2 IPv4, 10 IPv6, 7 bridge).
  public var family: UInt8 = 0
  /// Which of the optional values below are set.
  public var attributes: Attributes = []
  /// The packet's mark; 0 if the kernel sent none.
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
  /// Sender's hardware address, first byte lowest; see `hardwareAddressLength`.
  public var hardwareAddress: UInt64 = 0
  /// Its length in bytes, at most 8.
  public var hardwareAddressLength: UInt8 = 0
  /// Owner of the sending socket.
  public var userID: UInt32 = 0
  /// Group of the sending socket.
  public var groupID: UInt32 = 0
  /// The conntrack entry's id.
  public var conntrackID: UInt32 = 0
  /// The conntrack state (`enum ip_conntrack_info`).
  public var conntrackState: UInt32 = 0
  /// The conntrack mark.
  public var conntrackMark: UInt32 = 0
  /// The whole VLAN TCI.
  public var vlanTCI: UInt16 = 0
  /// The VLAN's EtherType (0x8100, 0x88a8).
  public var vlanProtocol: UInt16 = 0
  /// Arrival time in microseconds since 1970.
  public var timestamp: UInt64 = 0
  /// Checksum and segmentation state.
  public var bufferState: BufferState = []
  /// The packet's priority.
  ///
  /// `skb->priority`.
  public var priority: UInt32 = 0
  /// The packet's whole length in bytes, copied or not.
  public var originalLength: UInt32 = 0
  /// Where the packet's bytes start in the datagram.
  public var payloadOffset: Int = 0
  /// How many of its bytes were copied.
  public var payloadLength: Int = 0
  /// Where the MAC header's bytes start in the datagram.
  public var linkHeaderOffset: Int = 0
  /// The MAC header's length in bytes.
  public var linkHeaderLength: Int = 0

  /// An indication with nothing set.
  @inlinable
  public init() {}
}
