// SPDX-License-Identifier: Apache-2.0

/// What was counted of frames at the MAC layers: a part of the answer to `status`.
public struct FrameReport: Codable, Sendable, Hashable {
  /// Frames decided.
  public var frames: UInt64 = 0
  /// Their bytes, MAC headers included.
  public var bytes: UInt64 = 0
  /// Frames let go.
  public var permitted: UInt64 = 0
  /// Frames dropped.
  public var blocked: UInt64 = 0
  /// Frames dropped without a word.
  public var absorbed: UInt64 = 0
  /// Frames that callouts kept for later.
  public var held: UInt64 = 0
  /// Frames that are kept now.
  public var heldNow: Int = 0
  /// Frames given to the worker that owns what they bear.
  public var handedOver: UInt64 = 0
  /// Frames let go with new headers.
  public var rewritten: UInt64 = 0
  /// Frames permitted, but gone for want of room or since the kernel refused them.
  public var lost: UInt64 = 0
  /// Frames injected.
  public var injected: UInt64 = 0
  /// Frames that were to be injected, and then refused by the kernel.
  public var injectionsFailed: UInt64 = 0
  /// Frames and packets not injected, since they had been injected too often.
  public var tooManyHops: UInt64 = 0

  /// A report with nothing counted.
  public init() {}

  enum CodingKeys: String, CodingKey {
    case frames, bytes, permitted, blocked, absorbed, held
    case heldNow = "held-now"
    case handedOver = "handed-over"
    case rewritten, lost, injected
    case injectionsFailed = "injections-failed"
    case tooManyHops = "too-many-hops"
  }
}

/// The frames of one device in one direction: a part of the answer to `status`.
public struct PortReport: Codable, Sendable, Hashable {
  /// The device's name, when it was last diverted.
  public var interface: String
  /// The device's index.
  public var index: UInt32
  /// "inbound" or "outbound".
  public var direction: String
  /// Whether its frames are diverted now.
  public var diverting: Bool
  /// Frames taken from the device, before segmentation.
  public var diverted: UInt64 = 0
  /// Frames read.
  public var received: UInt64 = 0
  /// Frames put back.
  public var permitted: UInt64 = 0
  /// Frames that were decided to vanish, held ones among them.
  public var dropped: UInt64 = 0
  /// Of those put back, frames that were put back by the helper device.
  public var detoured: UInt64 = 0
  /// Frames put back or injected that the device let through.
  public var returned: UInt64 = 0
  /// Frames that the failure policy decided, since too many were under way.
  public var overloaded: UInt64 = 0
  /// Frames that the failure policy decided for want of memory.
  public var noMemory: UInt64 = 0
  /// Frames that went their way while the divert was taken down.
  public var passed: UInt64 = 0
  /// Times that the divert was taken down although frames were under way.
  public var forcedRemovals: UInt64 = 0
  /// Frames that later ones may have overtaken then.
  public var overtaken: UInt64 = 0
  /// Frames that are gone though nobody decided so, by kind; kinds that never occurred are left out.
  public var lost: [String: UInt64] = [:]

  /// A report with nothing counted.
  public init(interface: String, index: UInt32, direction: String, diverting: Bool) {
    self.interface = interface
    self.index = index
    self.direction = direction
    self.diverting = diverting
  }

  /// Frames that are gone though nobody decided so.
  public var lostInAll: UInt64 { lost.values.reduce(0, &+) }

  enum CodingKeys: String, CodingKey {
    case interface, index, direction, diverting, diverted, received, permitted, dropped, detoured
    case returned, overloaded
    case noMemory = "no-memory"
    case passed
    case forcedRemovals = "forced-removals"
    case overtaken, lost
  }
}
