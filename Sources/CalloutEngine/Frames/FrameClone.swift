// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

/// A copy of a frame that a callout owns; freed, with its contexts, when it goes.
///
/// Mirrors the result of `FwpsAllocateCloneNetBufferList0`.
public struct FrameClone: ~Copyable, Sendable {
  /// The frame from its MAC header on, with its VLAN tags; the callout may change it.
  public var bytes: [UInt8]
  /// What the kernel has not finished; the callout must keep it right where it changes headers.
  public var offload: FrameOffload
  /// The layer at which the original was classified.
  public let layer: Layer
  /// The interface of the original.
  public let interfaceIndex: UInt32
  /// The original's mark, and its priority.
  package let mark: UInt32
  package let priority: UInt32
  package var packet: TaggedPacket
  /// With what the original was injected.
  let trace: InjectionTrace
  private let hardwareType: HardwareType
  private let desk: any PacketDesk
  private var isTaken = false

  init(
    _ original: borrowing ClassifiedFrame, like tagged: TaggedPacket, _ trace: InjectionTrace,
    desk: any PacketDesk
  ) {
    self.trace = trace
    bytes = original.copyBytes()
    offload = original.metadata.offload
    layer = original.layer
    interfaceIndex = original.metadata.interfaceIndex
    hardwareType = original.metadata.hardwareType
    mark = original.metadata.mark
    priority = original.metadata.priority
    packet = tagged
    packet.handle = 0
    packet.id = 0
    packet.isClone = true
    self.desk = desk
  }

  /// The clone's handle, 0 if it bears no contexts.
  public var handle: UInt32 { packet.handle }

  /// Where the parts of the frame are, as it is now.
  public var layout: FrameLayout {
    FrameLayout(parsing: bytes.span.packetBytes, of: hardwareType)
  }

  /// Ends the clone without ending its contexts, which are now the caller's business.
  package consuming func take() -> (bytes: [UInt8], packet: TaggedPacket) {
    isTaken = true
    return (bytes, packet)
  }

  deinit {
    if !isTaken { desk.free(clone: packet) }
  }
}

/// A frame whose bytes outlive the call in which it was classified.
///
/// Mirrors a `NET_BUFFER_LIST` that is referenced; letting go of it is the dereference.
public struct ReferencedFrame: ~Copyable, Sendable {
  /// The frame from its MAC header on, with its VLAN tags.
  public let bytes: [UInt8]
  /// Where its headers lie.
  public let layout: FrameLayout
  /// The layer at which it was classified.
  public let layer: Layer
  /// What the kernel said of it.
  public let metadata: FrameMetadata
  /// With what it was injected.
  let trace: InjectionTrace

  init(_ original: borrowing ClassifiedFrame, _ trace: InjectionTrace) {
    self.trace = trace
    bytes = original.copyBytes()
    layout = original.layout
    layer = original.layer
    metadata = original.metadata
  }
}
