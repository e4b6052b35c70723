// SPDX-License-Identifier: Apache-2.0

public import LinkLayer

/// What a bridge has counted of frames.
public struct FrameStatistics: Sendable {
  /// Frames decided.
  public var frames: UInt64 = 0
  /// Their bytes, MAC headers included.
  public var bytes: UInt64 = 0
  /// Let go.
  public var permitted: UInt64 = 0
  /// Dropped.
  public var blocked: UInt64 = 0
  /// Dropped without a word.
  public var absorbed: UInt64 = 0
  /// Kept to be decided later.
  public var held: UInt64 = 0
  /// Of these, frames that wait now.
  public var heldNow = 0
  /// Given to the worker that owns what they bear.
  public var handedOver: UInt64 = 0
  /// Let go with new headers.
  public var rewritten: UInt64 = 0
  /// Permitted, but for want of room or by the kernel's refusal gone.
  public var lost: UInt64 = 0
  /// Injected.
  public var injected: UInt64 = 0
  /// To be injected, and then refused by the kernel.
  public var injectionsFailed: UInt64 = 0
  /// Not injected, since they had been injected too often.
  public var tooManyHops: UInt64 = 0

  /// Statistics of nothing.
  public init() {}

  mutating func add(_ other: FrameStatistics) {
    frames &+= other.frames
    bytes &+= other.bytes
    permitted &+= other.permitted
    blocked &+= other.blocked
    absorbed &+= other.absorbed
    held &+= other.held
    heldNow += other.heldNow
    handedOver &+= other.handedOver
    rewritten &+= other.rewritten
    lost &+= other.lost
    injected &+= other.injected
    injectionsFailed &+= other.injectionsFailed
  }
}

/// What has been counted of the frames of one device in one direction.
public struct PortStatistics: Sendable {
  /// The device's index.
  public let device: UInt32
  /// Its name, when it was last diverted.
  public let deviceName: String
  /// Frames that it receives, or that it sends.
  public let direction: LinkDirection
  /// Whether they are diverted now.
  public let isAttached: Bool
  /// What became of them on the way.
  public let counters: DivertCounters

  init(_ port: FramePort, isAttached: Bool) {
    device = port.divert.device.index
    deviceName = port.deviceName
    direction = port.divert.options.direction
    counters = port.divert.counters
    self.isAttached = isAttached
  }
}
