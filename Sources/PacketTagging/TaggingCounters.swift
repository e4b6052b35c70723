// SPDX-License-Identifier: Apache-2.0

/// What one table has counted since it was made.
///
/// At all times associated = live + ended.
public struct TaggingCounters: Sendable, BitwiseCopyable {
  /// Associations made, copies' included.
  public var associated: UInt64 = 0
  /// Associations ended, by `RemovalReason`.
  public var endedByReason: [16 of UInt64] = .init(repeating: 0)
  /// Events, by `LifeEventKind`.
  public var events: [16 of UInt64] = .init(repeating: 0)
  /// Events that did not fit the stream; never a terminal one.
  public var eventsLost: UInt64 = 0
  /// Associations refused because no handle was free.
  public var handlesRefused: UInt64 = 0
  /// Packets with a handle of ours that means nothing (any more); met as untagged.
  public var staleHandles: UInt64 = 0
  /// Packets with the live handle of another packet (a replayed mark); met as untagged.
  public var foreignFlows: UInt64 = 0
  /// Kernel-made copies met.
  public var copies: UInt64 = 0
  /// Copies that could not get a handle of their own and were met as untagged.
  public var copiesDetached: UInt64 = 0
  /// Packets that met our hooks too often.
  public var loops: UInt64 = 0

  /// Counters at zero.
  public init() {}

  /// Associations ended, for whatever reason.
  public var ended: UInt64 {
    var sum: UInt64 = 0
    for index in 0..<16 { sum &+= endedByReason[index] }
    return sum
  }

  /// Associations that have not ended.
  public var live: UInt64 { associated &- ended }

  /// Adds another table's counters.
  public mutating func add(_ other: TaggingCounters) {
    associated &+= other.associated
    for index in 0..<16 {
      endedByReason[index] &+= other.endedByReason[index]
      events[index] &+= other.events[index]
    }
    eventsLost &+= other.eventsLost
    handlesRefused &+= other.handlesRefused
    staleHandles &+= other.staleHandles
    foreignFlows &+= other.foreignFlows
    copies &+= other.copies
    copiesDetached &+= other.copiesDetached
    loops &+= other.loops
  }

  /// How many ended for `reason`.
  public func ended(_ reason: RemovalReason) -> UInt64 { endedByReason[Int(reason.rawValue)] }

  /// How many events of `kind` there were.
  public func count(_ kind: LifeEventKind) -> UInt64 { events[Int(kind.rawValue)] }
}
