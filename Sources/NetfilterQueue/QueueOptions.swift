// SPDX-License-Identifier: Apache-2.0

/// How one queue is bound.
public struct QueueOptions: Sendable, Hashable {
  /// The most bytes of a packet that the kernel can copy.
  ///
  /// `NFQA_CFG_PARAMS`.
  public static let wholePacket: UInt32 = 65531

  /// The queue's number.
  public var number: UInt16
  /// Bytes of each packet that are copied to user space, 1 to `wholePacket`.
  public var copyRange: UInt32
  /// Packets that may wait before the kernel drops or, with `failOpen`, passes.
  ///
  /// `NFQA_CFG_QUEUE_MAXLEN`.
  public var maximumLength: UInt32
  /// A full queue lets packets pass unseen.
  ///
  /// `NFQA_CFG_F_FAIL_OPEN`.
  public var failOpen: Bool
  /// Ask for the conntrack entry of each packet.
  ///
  /// `NFQA_CFG_F_CONNTRACK`.
  public var includesConntrack: Bool
  /// Ask for the owner of the sending socket.
  ///
  /// `NFQA_CFG_F_UID_GID`.
  public var includesOwner: Bool
  /// Packets received, at least, before their verdicts are sent, if so many wait.
  public var batchSize: Int

  /// Options with this project's defaults; GSO is always on.
  public init(
    number: UInt16, copyRange: UInt32 = wholePacket, maximumLength: UInt32 = 8192,
    failOpen: Bool = false, includesConntrack: Bool = false, includesOwner: Bool = false,
    batchSize: Int = 384
  ) {
    self.number = number
    // The kernel takes 0 for the whole packet.
    self.copyRange = copyRange == 0 ? Self.wholePacket : min(copyRange, Self.wholePacket)
    self.maximumLength = max(maximumLength, 1)
    self.failOpen = failOpen
    self.includesConntrack = includesConntrack
    self.includesOwner = includesOwner
    self.batchSize = max(batchSize, 1)
  }

  /// Options that give what either asks for, as far as a bound queue can change.
  public func union(_ other: QueueOptions) -> QueueOptions {
    var both = self
    both.copyRange = max(copyRange, other.copyRange)
    both.includesConntrack = includesConntrack || other.includesConntrack
    both.includesOwner = includesOwner || other.includesOwner
    return both
  }

  /// Room that the attributes around the payload can take, in bytes.
  var attributeRoom: Int { includesConntrack ? 896 : 384 }
  /// Bytes that one received message can take: an odd number of cache lines, so that slots of a
  /// batch spread over all sets of the cache.
  var slotBytes: Int { ((Int(copyRange) + attributeRoom + 63) / 64 | 1) * 64 }
  /// Slots of one receive buffer, taken from the kernel in one call: so few that they stay in the
  /// cache, which saves more than the calls cost.
  var slots: Int { max(1, min(batchSize, 64)) }
  /// What the receive buffer must hold: the kernel charges each message about this much.
  var receiveBufferBytes: Int32 {
    let perMessage = UInt64(copyRange) + 1280
    return Int32(clamping: max(4 << 20, min(perMessage * UInt64(maximumLength), 256 << 20)))
  }
}
