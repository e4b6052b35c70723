// SPDX-License-Identifier: Apache-2.0

/// What the kernel says of one frame besides its bytes.
public struct FrameMetadata: BitwiseCopyable, Sendable, Hashable {
  /// The frame's mark without the bit of what is put back.
  ///
  /// `skb->mark`.
  public var mark: UInt32
  /// The frame's priority, by which queueing disciplines sort.
  ///
  /// `skb->priority`.
  public var priority: UInt32
  /// The queue of the device that it came by, or was to go by.
  ///
  /// `skb->queue_mapping`.
  public var queue: UInt16
  /// Whether its outermost VLAN tag, now in its bytes, was kept beside them.
  ///
  /// `skb_vlan_tag_present`.
  public var wasTagBeside: Bool
  /// What of the frame is left for a device to finish.
  public var offload: FrameOffload

  /// Metadata of a frame that is complete and bears no mark.
  public init(
    mark: UInt32 = 0, priority: UInt32 = 0, queue: UInt16 = 0, wasTagBeside: Bool = false,
    offload: FrameOffload = FrameOffload()
  ) {
    self.mark = mark
    self.priority = priority
    self.queue = queue
    self.wasTagBeside = wasTagBeside
    self.offload = offload
  }
}

/// What a device is to do to a frame before it is on the wire: a checksum, and cutting it up.
///
/// `struct virtio_net_hdr`; offsets are from the first byte of the frame.
public struct FrameOffload: BitwiseCopyable, Sendable, Hashable {
  /// `VIRTIO_NET_HDR_F_*`: 1 a checksum is to be finished, 2 it was verified.
  public var flags: UInt8 = 0
  /// `VIRTIO_NET_HDR_GSO_*`: 0 nothing to cut, 1 TCP over IPv4, 4 over IPv6, 5 UDP; 0x80 with ECN.
  public var segmentation: UInt8 = 0
  /// The length of all headers, as a hint.
  public var headerLength: UInt16 = 0
  /// The most bytes of payload in a segment.
  public var segmentSize: UInt16 = 0
  /// From where on the checksum counts.
  public var checksumStart: UInt16 = 0
  /// Where it is to be put, from there.
  public var checksumOffset: UInt16 = 0

  /// Nothing left to do.
  public init() {}

  /// Whether a checksum holds the sum of the pseudo header only.
  ///
  /// `CHECKSUM_PARTIAL`.
  public var isChecksumPartial: Bool { flags & 1 != 0 }
  /// Whether the frame is to be cut into segments.
  ///
  /// `skb_is_gso`.
  public var isSegmentationPending: Bool { segmentation != 0 }

  /// The same of a frame that has `bytes` more before what is to be finished.
  public func shifted(by bytes: Int) -> FrameOffload {
    let bytes = UInt16(truncatingIfNeeded: bytes)
    var shifted = self
    if isChecksumPartial { shifted.checksumStart &+= bytes }
    if isSegmentationPending { shifted.headerLength &+= bytes }
    return shifted
  }
}
