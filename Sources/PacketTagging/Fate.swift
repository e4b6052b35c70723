// SPDX-License-Identifier: Apache-2.0

/// What became of the bearers of a handle, concluded from what the kernel noted under it.
///
/// Of several bearers' ends the highest counts: delivered, transmitted, dropped.
struct Fate {
  var reason: RemovalReason
  var certainty: Certainty
  /// The event that tells that the way through the stack is complete.
  var completed: LifeEventKind?
  /// When it was complete.
  var completion: UInt64
  /// When the last bearer ended, as far as it is known.
  var end: UInt64
  /// Whether nothing more is to be waited for.
  var isFinal: Bool
  /// Whether a buffer may still bear the handle.
  var mayReturn: Bool
  /// Whether a program read it.
  var isRead = false
  /// Whether the reason of a drop belongs to the end.
  var tellsDrop: Bool

  /// Copies of one packet end within this time of each other, in nanoseconds.
  private static let quietTime: UInt64 = 2_000_000
  /// How long a program may take to read a packet until it is told as delivered only.
  private static let readingTime: UInt64 = 200_000_000

  /// Nil if nothing was seen that says where the packet has gone.
  ///
  /// `count` tells which buffers bear the handle, if they are counted; `isLast` says that there will
  /// be no other look.
  init?(
    _ sighting: Sighting, _ entry: ContextEntry, _ now: UInt64, patience longPatience: UInt64,
    count: BearerCount? = nil, isLast: Bool = false
  ) {
    let seen = sighting.seen
    let isOver = count?.isOver(first: sighting.buffer) ?? false
    let isFreed = seen.contains(.freed) || isOver
    let isRefused = seen.contains(.refused) && !seen.contains(.several)
    certainty = seen.contains(.several) ? .observed : .exact
    var time = sighting.ended
    var waitsForReader = false
    var patience = Self.quietTime
    if seen.contains(.reached), !isRefused {
      (reason, completed, time) = (.delivered, .receiveComplete, sighting.reached)
      isRead = seen.contains(.read) || entry.isDatagram && seen.contains(.freed)
      waitsForReader = !isRead && sighting.ended == 0
      // The witness at the socket knows the handle, not the buffer.
      if sighting.ended == 0 { certainty = .observed }
    } else if seen.contains(.sent), !entry.isInbound {
      // Not after INPUT: what is sent then is another packet, to which the mark was handed on.
      (reason, completed, time) = (.transmitted, .sendComplete, sighting.sent)
      // The one that was sent is a copy, as long as another hook of ours is to be met.
      if entry.isExpected { patience = longPatience }
    } else if entry.isFragment, isFreed {
      (reason, completed, certainty) = (.reassembled, .reassembledFragment, .observed)
      patience = longPatience
    } else if seen.contains(.left) {
      reason = .leftNamespace
    } else if seen.contains(.dropped) {
      reason = .dropped
    } else if isFreed, entry.isInbound || seen.contains(.looped) {
      // The stack itself took it: a request that it answers, the opening of a connection.
      (reason, completed) = (.delivered, .receiveComplete)
    } else if isFreed {
      // Fragments or segments of it may still wait in a device's queue.
      let isArriving = entry.count(.prerouting) > 0
      (reason, completed) = isArriving ? (.delivered, .receiveComplete) : (.released, nil)
      certainty = .inferred
      patience = longPatience
    } else {
      return nil
    }
    completion = time == 0 ? now : Sighting.nanoseconds(time, before: now)
    let last =
      sighting.ended == 0 ? completion : Sighting.nanoseconds(sighting.ended, before: now)
    end = max(completion, last)
    tellsDrop = reason == .dropped || reason == .delivered && !isRead
    if waitsForReader { patience = Self.readingTime }
    // A copy is known to be somewhere.
    if count != nil, seen.contains(.several) { patience = longPatience }
    mayReturn = !isOver && (count != nil || seen.contains(.several))
    if isOver, certainty == .observed { certainty = .exact }
    isFinal = isOver || end &+ patience <= now || isLast
    // Too late to be told in its place among other events.
    if isFinal, end &+ ContextTable.longestDelay < now {
      end = now
      if certainty == .inferred { completion = now }
    }
  }
}
