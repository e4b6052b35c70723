// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// The frames of one device in one direction, taken out of the kernel and put back.
///
/// A program at the device sends each frame to a helper device, whose packet socket is read in
/// batches; what is permitted goes back to where it was taken, with all bits of its mark but one as
/// they were. One thread at a time uses it. Everything goes with the process, however it ends.
///
/// ```
///  detached ──attach──▶ attached ──beginRemoval──▶ draining ──▶ closing ──▶ detached
///                                     nothing under way, or 1 s ┘      └ the kernel has let go
/// ```
public struct FrameDivert: ~Copyable {
  /// The most frames of a batch.
  public static let batchSize = FrameBatch.capacity

  /// Where in its life a divert is.
  public enum Phase: Sendable, Hashable {
    /// Frames go their way unseen.
    case detached
    /// Frames are diverted.
    case attached
    /// Frames are diverted until none is under way.
    case draining
    /// The kernel is letting go of the program; frames may still come.
    case closing
  }

  /// Where it is.
  public internal(set) var phase = Phase.detached
  /// What happened to frames so far.
  public internal(set) var tally = DivertTally()

  let port: DivertPort
  /// By what frames are put back: the device, or the helper that leads into its stack.
  let socket: FrameSocket
  /// The way to send by the device for frames that it is asked too much with.
  let detour: FrameSocket?
  var ring: FrameRing
  var batch = FrameBatch()
  var transmission: FrameTransmission
  var removal = Removal()
  /// Frames decided or known to be lost; what the programs are told.
  var handled: UInt64 = 0

  /// Readies a divert; frames go on unseen until it is attached.
  public static func open(_ options: FrameDivertOptions) throws(DivertError) -> FrameDivert {
    for capability in [Capability.netAdmin, .netRaw, .bpf] where !capability.isEffective {
      throw .notPermitted
    }
    let port = try DivertPort(options)
    let trail = FrameTrail.none.adding(options.injectedBit)
    do throws(SystemError) {
      return FrameDivert(
        port: port,
        ring: try .open(device: port.helper.index, slots: options.slots),
        socket: try FrameSocket(
          device: options.direction == .inbound ? port.helper.index : options.device,
          takesPriority: port.takesPriority, trail: trail),
        detour: options.direction == .inbound
          ? nil
          : try FrameSocket(
            device: port.helper.index, takesPriority: port.takesPriority, trail: trail))
    } catch {
      throw .noSocket(error)
    }
  }

  private init(
    port: DivertPort, ring: consuming FrameRing, socket: FrameSocket, detour: FrameSocket?
  ) {
    self.port = port
    self.ring = ring
    self.socket = socket
    self.detour = detour
    transmission = FrameTransmission(
      takesPriority: port.takesPriority, trail: socket.trail)
  }

  /// Dropped while it is attached it loses what waits to be read, and nothing else.
  deinit {
    if phase != .detached { port.abandon() }
  }

  /// What is diverted, and how.
  public var options: FrameDivertOptions { port.options }
  /// The device as it was when the divert was opened.
  public var device: LinkDevice { port.device }
  /// How its programs hang at devices.
  public var attachment: DivertAttachment { port.attachment }
  /// Whether frames are plain IP packets, without a MAC header.
  public var isRawIP: Bool { port.form != .ethernet }
  /// The index of the helper device: without it, or while it is down, diverted frames are lost.
  public var helperIndex: UInt32 { port.helper.index }
  /// The descriptor to wait on for frames.
  public var pollDescriptor: CInt { ring.pollDescriptor }

  /// Begins to divert frames.
  public mutating func attach() throws(DivertError) {
    guard phase == .detached else { throw .notDetached }
    try port.attach()
    handled = port.state[.handled]
    phase = .attached
  }

  /// A way to send frames into the device's stack, or by the device, from any thread.
  public func makeInjector() throws(DivertError) -> FrameInjector {
    try FrameInjector(port)
  }

  /// What the programs have counted, and what became of frames.
  public var counters: DivertCounters {
    DivertCounters(
      tally: tally, ringLosses: ring.ringLosses, truncated: ring.truncated,
      malformed: ring.malformed, state: port.state)
  }
}

/// A frame that waits for its outcome; valid until its batch is flushed.
public struct DivertedFrame: ~Escapable {
  /// The frame from its MAC header on, VLAN tags in their places; of a raw-IP device the packet.
  public let bytes: RawSpan
  /// What the kernel says of it.
  public let metadata: FrameMetadata

  @_lifetime(copy bytes)
  init(bytes: RawSpan, metadata: FrameMetadata) {
    self.bytes = bytes
    self.metadata = metadata
  }
}
