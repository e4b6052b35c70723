// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// What the table needs to know of a packet that came to a queue.
public struct Arrival: BitwiseCopyable, Sendable {
  /// Its mark.
  public var mark: UInt32
  /// Its id in its queue.
  public var id: UInt32
  /// Where it is met: at a hook, or as a frame of a device.
  public var place: HookSet
  /// The layer at which it is classified.
  public var layer: UInt16
  /// Two 16-bit halves: the source's side of its flow and the destination's, so that a packet
  /// whose one side was translated is still known; 0 where the flow cannot be told (fragments).
  public var fingerprint: UInt32
  /// Tells it from other packets of its flow, so that a mark replayed onto one of them does not
  /// bring a wrong context; 0 if it cannot be told.
  public var digest: UInt16 = 0
  /// Whether it is a fragment of a packet.
  public var isFragment = false
  /// Whether it came by or leaves through a bridge port, where copies share their data.
  public var isBridged: Bool

  /// An arrival.
  public init(
    mark: UInt32, id: UInt32, place: HookSet, layer: UInt16, fingerprint: UInt32, isBridged: Bool
  ) {
    self.mark = mark
    self.id = id
    self.place = place
    self.layer = layer
    self.fingerprint = fingerprint
    self.isBridged = isBridged
  }
}

/// How the table met an arriving packet.
public enum Encounter: Sendable, BitwiseCopyable {
  /// It bears no handle that means anything.
  case untagged
  /// It bears a live handle and waits under it.
  case bearer(UInt32)
  /// It has met our hooks too often under this handle; the failure policy decides.
  case looping(UInt32)
}

extension ContextTable {
  /// Notes that a packet waits, and finds what it bears.
  ///
  /// A packet that cannot be the one that was let go last is a copy made by the kernel, and is
  /// treated as each tag's disposition says.
  public mutating func meet(_ arrival: Arrival) -> Encounter {
    guard let field = options.field else { return .untagged }
    guard arrival.mark & field.mask != 0 else { return .untagged }
    let handle = field.number(in: arrival.mark, epoch: options.epoch)
    guard let slot = slot(handle) else {
      if arrival.mark & field.mask & ~field.injectedBit != 0 { counters.staleHandles &+= 1 }
      return .untagged
    }
    guard Self.isSameFlow(entries[slot].fingerprint, arrival.fingerprint),
      entries[slot].digest == arrival.digest || entries[slot].digest == 0 || arrival.digest == 0
    else {
      counters.foreignFlows &+= 1
      return .untagged
    }
    entries[slot].time = now
    guard let departure = departure(slot, arrival.place) else { return meetCopy(slot, arrival) }
    entries[slot].decrement(departure)
    if entries[slot].isFragment, !arrival.isFragment { reassemble(slot, layer: arrival.layer) }
    return wait(slot, arrival)
  }

  /// Whether one side at least is the same; 0 is a flow that cannot be told.
  private static func isSameFlow(_ left: UInt32, _ right: UInt32) -> Bool {
    let mixed = left ^ right
    return mixed & 0xffff == 0 || mixed >> 16 == 0 || left == 0 || right == 0
  }

  private mutating func wait(_ slot: Int, _ arrival: Arrival) -> Encounter {
    entries[slot].waiting &+= entries[slot].waiting < .max ? 1 : 0
    entries[slot].lastID = arrival.id
    return countHop(slot)
  }

  private mutating func countHop(_ slot: Int) -> Encounter {
    entries[slot].hops &+= entries[slot].hops < .max ? 1 : 0
    guard entries[slot].hops <= options.maximumHops else {
      counters.loops &+= 1
      return .looping(handle(slot))
    }
    return .bearer(handle(slot))
  }

  /// The departure after which a bearer of this slot can be here, if one is under way.
  private func departure(_ slot: Int, _ place: HookSet) -> Departure? {
    let entry = entries[slot]
    guard entry.ownRoaming != 0 else { return nil }
    for raw in 0..<Departure.sharer.rawValue {
      guard let departure = Departure(rawValue: raw) else { continue }
      if entry.count(departure) > 0, departure.followers.contains(place) { return departure }
    }
    return nil
  }

  private mutating func meetCopy(_ slot: Int, _ arrival: Arrival) -> Encounter {
    counters.copies &+= 1
    let kind = noteCopy(slot, arrival)
    var shares = entries[slot].parent != 0
    var moves = 0
    var sharesOwn = false
    var all = true
    if let kind {
      emitForAll(kind, slot, .observed, layer: arrival.layer, otherPacketID: arrival.id)
    }
    for position in 0..<Int(entries[slot].associations) {
      switch association(slot, at: position).tag.disposition {
      case .share: sharesOwn = true
      case .move:
        moves += 1
        all = false
      case .detach: all = false
      }
    }
    shares = shares || sharesOwn
    // A copy of what was injected was injected too.
    if shares || entries[slot].isInjected, all {
      // More bearers than can be counted: the last of them could not be told.
      guard entries[slot].waiting < .max else {
        counters.copiesDetached &+= 1
        bearers?[Int(handle(slot))].forget()
        return .untagged
      }
      return wait(slot, arrival)
    }
    // It is about to bear another handle, or none, which the kernel does not tell.
    bearers?[Int(handle(slot))].forget()
    guard shares || moves > 0, entries[slot].count(.sharer) < .max else { return .untagged }
    // Each move ends an association, whose terminal event needs its place.
    guard live + outlet.backlog + moves <= capacity + 1,
      let copy = try? allocate(fingerprint: arrival.fingerprint, id: arrival.id)
    else {
      counters.copiesDetached &+= 1
      return .untagged
    }
    entries[copy].digest = arrival.digest
    if shares {
      let parent = sharesOwn || entries[slot].parent == 0 ? slot : Int(entries[slot].parent)
      entries[copy].parent = UInt32(truncatingIfNeeded: parent)
      entries[parent].increment(.sharer)
    }
    entries[copy].hops = entries[slot].hops
    moveAll(from: slot, to: copy, arrival)
    return countHop(copy)
  }

  /// What copy it is: as the kernel was seen to make it, else by where it came; nil if it has been
  /// told already, because it was counted long before it came.
  ///
  /// It need not be told again.
  private func noteCopy(_ slot: Int, _ arrival: Arrival) -> LifeEventKind? {
    var isClone = arrival.isBridged
    if let count = bearerCount(slot), count.copies != 0 {
      guard count.untoldClones + count.untoldDuplicates > 0 else { return nil }
      if count.untoldClones == 0 { isClone = false }
      if count.untoldDuplicates == 0 { isClone = true }
      bearers?[Int(handle(slot))].told &+= isClone ? 1 : 1 << 16
    }
    return isClone ? .clonedByNetIO : .duplicatedByNetIO
  }

  private mutating func moveAll(from slot: Int, to copy: Int, _ arrival: Arrival) {
    var position = Int(entries[slot].associations) - 1
    while position >= 0 {
      let association = association(slot, at: position)
      if association.tag.disposition == .move, (try? append(association, copy)) != nil {
        countAssociation(association.tag)
        endAssociation(
          slot, at: position, .movedToClone, .observed, layer: arrival.layer, other: handle(copy))
      }
      position -= 1
    }
  }

  /// Notes that a waiting bearer was let go to where another hook of ours can meet it.
  package mutating func depart(
    _ handle: UInt32, _ departure: Departure, isInbound: Bool = false
  ) {
    guard let slot = slot(handle) else { return }
    entries[slot].waiting &-= entries[slot].waiting > 0 ? 1 : 0
    entries[slot].increment(departure)
    if isObserved {
      entries[slot].isInbound = isInbound
      entries[slot].isExpected = true
    }
    entries[slot].time = now
    watch(slot)
  }

  @inline(__always)
  private mutating func watch(_ slot: Int) {
    guard !entries[slot].isWatched else { return }
    entries[slot].isWatched = true
    if isObserved {
      leaving.append(UInt32(truncatingIfNeeded: slot), at: milliseconds)
    } else {
      watched.append(UInt32(truncatingIfNeeded: slot), at: milliseconds)
    }
  }

  /// Keeps what a waiting bearer bears until somebody removes it, though it is let go.
  ///
  /// For frames that never enter the IP stack. Only half of the handles can be kept, as anybody on the
  /// wire can send such frames: what the rest bear ends when it is swept.
  package mutating func keep(_ handle: UInt32) {
    guard let slot = slot(handle) else { return }
    if !entries[slot].isParked {
      guard parked < max(1, capacity / 2) else { return }
      parked += 1
    }
    entries[slot].isKept = true
    entries[slot].isParked = true
  }

  /// Tells that a layer is done with a bearer.
  package mutating func complete(_ handle: UInt32, _ kind: LifeEventKind, layer: UInt16) {
    guard let slot = slot(handle) else { return }
    emitForAll(kind, slot, .exact, layer: layer)
  }

  /// Counts one more round of a packet through `hook`; gives it a handle to count by if it has
  /// none.
  ///
  /// False if it has had `limit` rounds, or if there is no handle to count by.
  public mutating func countRepeat(_ packet: inout TaggedPacket, at hook: Hook, limit: UInt8)
    -> Bool
  {
    if slot(packet.handle) == nil {
      guard let slot = try? allocate(fingerprint: packet.fingerprint, id: packet.id) else {
        return false
      }
      entries[slot].digest = packet.digest
      packet.handle = handle(slot)
    }
    guard let slot = slot(packet.handle) else { return false }
    if entries[slot].repeatedHook != hook.rawValue { entries[slot].repeats = 0 }
    entries[slot].repeatedHook = hook.rawValue
    guard entries[slot].repeats < limit else { return false }
    entries[slot].repeats += 1
    return true
  }

  /// Takes in that the packet's own flow was rewritten, so that it is known at the next hook.
  public mutating func changeFingerprint(_ handle: UInt32, to fingerprint: UInt32) {
    guard let slot = slot(handle) else { return }
    entries[slot].fingerprint = fingerprint
    entries[slot].digest = 0
  }

  /// Ends what a clone that was never sent bears.
  public mutating func free(clone handle: UInt32) {
    guard let slot = slot(handle) else { return }
    entries[slot].decrement(.anywhere)
    guard !entries[slot].hasBearers else { return }
    end(slot, .removedByCaller, .exact, layer: entries[slot].first.layer)
  }

  /// Notes that a clone was sent; if it never comes to a queue, the sweeper ends what it bears.
  public mutating func noteSent(clone handle: UInt32) {
    guard let slot = slot(handle) else { return }
    entries[slot].isKept = false
    entries[slot].time = now
    if isObserved { emitForAll(.enteredNetIO, slot, .exact, layer: entries[slot].first.layer) }
    watch(slot)
  }

  /// Notes that a waiting bearer is gone for good.
  ///
  /// The last one ends the associations.
  ///
  /// `exits` says that it leaves the stack by our leave: an exit event comes first.
  public mutating func finish(
    _ handle: UInt32, _ reason: RemovalReason, _ certainty: Certainty = .exact, layer: UInt16,
    exits: Bool = false
  ) {
    guard let slot = slot(handle) else { return }
    if exits {
      emitForAll(.exitNetIO, slot, certainty, layer: layer)
    }
    entries[slot].waiting &-= entries[slot].waiting > 0 ? 1 : 0
    if !entries[slot].hasBearers { return end(slot, reason, certainty, layer: layer) }
    if reason.rank > entries[slot].best.rank { entries[slot].best = reason }
    guard entries[slot].waiting == 0, entries[slot].ownRoaming == 0 else { return }
    // Only sharers are left: what is not shared ends here.
    let ending = entries[slot].ending(reason)
    var position = Int(entries[slot].associations) - 1
    while position >= 0 {
      if association(slot, at: position).tag.disposition != .share {
        endAssociation(slot, at: position, ending, certainty, layer: layer)
      }
      position -= 1
    }
  }

  /// Ends contexts whose packets were let go and not met again; looks at `limit` handles at most,
  /// more than a batch can tag.
  ///
  /// True if more may be due.
  @discardableResult
  public mutating func sweep(limit: Int = 1024) -> Bool {
    restIfIdle()
    let patience =
      isObserved ? Self.laterLook : UInt32(clamping: options.sweepAfter / 1_000_000)
    for _ in 0..<limit {
      guard let first = watched.first, milliseconds &- first.milliseconds >= patience else {
        return false
      }
      watched.removeFirst()
      if let ahead = watched.peek(8) { entries.prefetch(Int(ahead.slot)) }
      let slot = Int(first.slot)
      guard entries[slot].isLive else {
        entries[slot].isWatched = false
        continue
      }
      if let sightings, endIfSeen(slot, sightings) { continue }
      if entries[slot].waiting == 0, now &- entries[slot].time >= options.sweepAfter,
        entries[slot].count(.sharer) == 0, !entries[slot].isKept
      {
        if let sightings, endIfSeen(slot, sightings, isLast: true) { continue }
        entries[slot].isWatched = false
        entries[slot].roaming = 0
        end(slot, .lost, .inferred, layer: entries[slot].first.layer)
      } else if isObserved {
        watched.append(first.slot, at: milliseconds)
      } else {
        let again = max(entries[slot].time, now - min(now, options.sweepAfter / 2))
        watched.append(first.slot, at: UInt32(truncatingIfNeeded: again / 1_000_000))
      }
    }
    return true
  }

  /// Ends everything, at the engine's end.
  public mutating func endAll(_ reason: RemovalReason) {
    if isWatchingKernel { source?.rest() }
    isWatchingKernel = false
    for slot in 1..<max(1, entries.count) where entries[slot].isLive {
      if let sightings, endIfSeen(slot, sightings, isLast: true) { continue }
      entries[slot].parent = 0
      end(slot, reason, .exact, layer: entries[slot].first.layer)
    }
  }
}
