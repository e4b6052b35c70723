// SPDX-License-Identifier: Apache-2.0

public import PacketViews

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
  /// Which other engines have had it before at this device and direction.
  public var trail: FrameTrail

  /// Metadata of a frame that is complete and bears no mark.
  public init(
    mark: UInt32 = 0, priority: UInt32 = 0, queue: UInt16 = 0, wasTagBeside: Bool = false,
    offload: FrameOffload = FrameOffload(), trail: FrameTrail = .none
  ) {
    self.mark = mark
    self.priority = priority
    self.queue = queue
    self.wasTagBeside = wasTagBeside
    self.offload = offload
    self.trail = trail
  }
}
