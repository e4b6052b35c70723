// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import Synchronization

/// What the kernel said of an event, for the event that is raised.
struct EventDetail {
  var time: UInt64
  var device: UInt32 = 0
  var dropReason: UInt32 = 0
  var place: UInt32 = 0
  var isRead = false
}

/// A tagged packet that the kernel dropped after it was let go.
package struct DroppedBearer: BitwiseCopyable, Sendable {
  /// The handle that it bore.
  package var handle: UInt32
  /// The kernel's number for the reason.
  package var reason: UInt32
}

// Packets that were let go, followed by what the kernel noted under their handles.
extension ContextTable {
  /// How long after a packet was let go the kernel's notes are read first, in milliseconds: by then
  /// nearly all packets have come to their end.
  static var firstLook: UInt32 { 4 }
  /// How long they are looked at again, in milliseconds.
  static var laterLook: UInt32 { 50 }

  /// How long the kernel is observed after the last context has ended, in nanoseconds.
  static var idleTime: UInt64 { 5_000_000_000 }
  /// How late an event that the kernel brought about is told, in nanoseconds.
  package static var longestDelay: UInt64 { 80_000_000 }

  /// Whether the kernel tells what becomes of packets that were let go.
  public var isObserved: Bool { sightings != nil }

  /// Notes that a waiting bearer was let go where no hook of ours can meet it again.
  ///
  /// Its contexts live on until the kernel has told of its end.
  package mutating func leave(
    _ handle: UInt32, _ departure: Departure, isInbound: Bool, _ certainty: Certainty,
    layer: UInt16
  ) {
    guard let slot = slot(handle) else { return }
    emitForAll(.exitNetIO, slot, certainty, layer: layer)
    depart(handle, departure, isInbound: isInbound)
    entries[slot].isExpected = false
  }

  /// Ends the contexts of which the kernel has told the end; looks at `limit` handles at most.
  ///
  /// True if more may be due.
  public mutating func followDepartures(limit: Int = 1024) -> Bool {
    guard let sightings else { return false }
    for _ in 0..<limit {
      guard let first = leaving.first, milliseconds &- first.milliseconds >= Self.firstLook else {
        return false
      }
      leaving.removeFirst()
      if let ahead = leaving.peek(8) { entries.prefetch(Int(ahead.slot)) }
      let slot = Int(first.slot)
      guard entries[slot].isLive else {
        entries[slot].isWatched = false
        continue
      }
      if !endIfSeen(slot, sightings) { watched.append(first.slot, at: milliseconds) }
    }
    return true
  }

  /// When the next look is due, in nanoseconds of CLOCK_MONOTONIC; nil if nothing is under way.
  public var nextLook: UInt64? {
    guard isObserved else { return nil }
    var due: UInt64?
    if let first = leaving.first { due = time(of: first, after: Self.firstLook) }
    if let first = watched.first {
      due = min(due ?? .max, time(of: first, after: Self.laterLook))
    }
    return due
  }

  private func time(of element: IndexRing.Element, after delay: UInt32) -> UInt64 {
    let wait = Int32(bitPattern: element.milliseconds &+ delay &- milliseconds)
    return now &+ UInt64(max(wait, 0)) * 1_000_000
  }

  mutating func watchKernel() {
    isWatchingKernel = true
    lastBusy = now
    source?.watch()
  }

  /// Lets the kernel be, some time after the last context has ended.
  mutating func restIfIdle() {
    guard isWatchingKernel else { return }
    if live > 0 || leaving.first != nil || watched.first != nil { lastBusy = now }
    guard now &- lastBusy >= Self.idleTime else { return }
    isWatchingKernel = false
    source?.rest()
  }

  /// Tells what the kernel was seen to do with the bearers of a handle; true if that is their end.
  ///
  /// Not inlined, so that the loops which call it stay small where nothing is observed.
  @inline(never)
  mutating func endIfSeen(
    _ slot: Int, _ sightings: SharedView<Sighting>, isLast: Bool = false
  ) -> Bool {
    guard entries[slot].waiting == 0, !entries[slot].isKept, entries[slot].count(.sharer) == 0
    else { return false }
    // The count first: whoever goes has been seen to end before.
    let count = bearerCount(slot)
    atomicMemoryFence(ordering: .acquiring)
    let sighting = sightings[Int(handle(slot))]
    let layer = entries[slot].first.layer
    if let count { tellCopies(slot, count, layer: layer) }
    guard
      let fate = Fate(
        sighting, entries[slot], now, patience: options.sweepAfter, count: count, isLast: isLast)
    else { return false }
    detail = EventDetail(time: max(fate.completion, entries[slot].time), device: sighting.device)
    if entries[slot].isFragment, fate.reason == .delivered { reassemble(slot, layer: layer) }
    if let completed = fate.completed, !entries[slot].isComplete,
      fate.isFinal || sighting.seen.contains(.reached)
        || fate.reason == .transmitted && !entries[slot].isExpected
    {
      if count == nil, sighting.seen.contains(.devices) {
        emitForAll(.clonedByNetIO, slot, .inferred, layer: layer)
      }
      emitForAll(completed, slot, fate.certainty, layer: layer)
      entries[slot].isComplete = true
    }
    guard fate.isFinal else {
      detail = nil
      return false
    }
    var ending = EventDetail(
      time: max(fate.end, entries[slot].time), device: sighting.device, isRead: fate.isRead)
    if sighting.seen.contains(.dropped), fate.tellsDrop {
      ending.dropReason = sighting.dropReason
      ending.place = sighting.place
    }
    detail = ending
    if keepsDrops, fate.reason == .dropped, drops.count < Self.mostDrops {
      drops.append(DroppedBearer(handle: handle(slot), reason: ending.dropReason))
    }
    entries[slot].isWatched = false
    entries[slot].roaming = 0
    end(slot, fate.reason, fate.certainty, layer: layer, mayReturn: fate.mayReturn)
    detail = nil
    return true
  }

  /// Which buffers bear a handle, if they were counted from its beginning.
  func bearerCount(_ slot: Int) -> BearerCount? {
    guard let bearers else { return nil }
    let count = bearers[Int(handle(slot))]
    return count.isKnown ? count : nil
  }

  /// Tells of the copies that the kernel was seen to make and of which no queue of ours has told.
  private mutating func tellCopies(_ slot: Int, _ count: BearerCount, layer: UInt16) {
    guard count.copies != count.told else { return }
    let time = Sighting.nanoseconds(count.copied, before: now)
    detail = EventDetail(time: max(time, entries[slot].time))
    // Past the last hook on its way out it is with the devices.
    let isInStack =
      entries[slot].isInbound || entries[slot].isExpected || entries[slot].count(.prerouting) > 0
    for _ in 0..<min(count.untoldClones, Self.mostCopiesTold) {
      emitForAll(isInStack ? .clonedByNetIO : .clonedByNDIS, slot, .exact, layer: layer)
    }
    for _ in 0..<min(count.untoldDuplicates, Self.mostCopiesTold) {
      emitForAll(.duplicatedByNetIO, slot, .exact, layer: layer)
    }
    bearers?[Int(handle(slot))].told = count.copies
    detail = nil
  }

  /// What the kernel was seen to drop since the last call, while `keepsDrops` is set.
  package mutating func takeDrops() -> [DroppedBearer] {
    defer { drops = [] }
    return drops
  }

  /// Between two looks.
  private static var mostDrops: Int { 4096 }

  /// Of one packet at one look: as many as a bridge can have ports.
  private static var mostCopiesTold: Int { 1024 }
}
