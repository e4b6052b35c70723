// SPDX-License-Identifier: Apache-2.0

/// A line of the answer to `capture` that is no `EventLine`: one of its keys is there.
public struct CaptureLine: Codable, Sendable, Hashable {
  /// The first line: from now on packets are copied.
  public struct Beginning: Codable, Sendable, Hashable {
    /// CLOCK_MONOTONIC in nanoseconds.
    public var time: UInt64
    /// The most bytes of a packet that are copied.
    public var snap: UInt32

    /// A beginning.
    public init(time: UInt64, snap: UInt32) {
      self.time = time
      self.snap = snap
    }
  }

  /// Only in the first line.
  public var begun: Beginning?
  /// A packet that was tagged.
  public var packet: PacketLine?
  /// Packets so far that were tagged and not copied, for want of room.
  public var lost: UInt64?

  /// A line.
  public init(begun: Beginning? = nil, packet: PacketLine? = nil, lost: UInt64? = nil) {
    self.begun = begun
    self.packet = packet
    self.lost = lost
  }

  /// Whether a line of the answer is one of these.
  public static func isOne(_ line: [UInt8]) -> Bool {
    ["{\"packet\":", "{\"begun\":", "{\"lost\":"].contains { line.starts(with: $0.utf8) }
  }
}

/// A packet as it was when it had been tagged at the first layer.
public struct PacketLine: Codable, Sendable, Hashable {
  /// CLOCK_MONOTONIC in nanoseconds.
  public var time: UInt64
  /// Its handle, by which its events know it.
  public var handle: UInt32
  /// Its id in its queue.
  public var packetID: UInt32
  /// The queue.
  public var queue: UInt16
  /// The layer at which it was tagged.
  public var layer: String
  /// The device by which it came or leaves.
  public var device: String
  /// Whether it came by the device.
  public var isInbound: Bool
  /// Its length in bytes, which may be more than were copied.
  public var originalLength: UInt32
  /// How many contexts it bears, of the tag that was asked for if one was.
  public var contexts: Int
  /// What was copied of it, in base64.
  public var bytes: String

  /// A packet.
  public init(
    time: UInt64, handle: UInt32, packetID: UInt32, queue: UInt16, layer: String, device: String,
    isInbound: Bool, originalLength: UInt32, contexts: Int, bytes: String
  ) {
    self.time = time
    self.handle = handle
    self.packetID = packetID
    self.queue = queue
    self.layer = layer
    self.device = device
    self.isInbound = isInbound
    self.originalLength = originalLength
    self.contexts = contexts
    self.bytes = bytes
  }

  enum CodingKeys: String, CodingKey {
    case time, handle
    case packetID = "packet-id"
    case queue, layer, device
    case isInbound = "inbound"
    case originalLength = "length"
    case contexts, bytes
  }
}
