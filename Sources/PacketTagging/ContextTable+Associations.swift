// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// The packet for which a tagging call is made.
public struct TaggedPacket: BitwiseCopyable, Sendable {
  /// Its handle, 0 if it bears none.
  public var handle: UInt32 = 0
  /// Its id in its queue.
  public var id: UInt32 = 0
  /// A fingerprint of its flow; see `ContextTable.meet`.
  public var fingerprint: UInt32 = 0
  /// Tells it from other packets of its flow; 0 if it cannot be told.
  public var digest: UInt16 = 0
  /// The layer at which it is classified.
  public var layer: UInt16 = 0
  /// What the fragments of one packet have in common, 0 for a whole one.
  public var fragmentKey: UInt32 = 0
  /// A UDP datagram.
  public var isDatagram = false
  /// A copy that a callout made and that waits in no queue.
  public var isClone = false
  /// Injected, where it is met, by another engine.
  package var isInjectedByOther = false

  /// A packet without a handle.
  public init() {}
}

extension ContextTable {
  /// Puts a context on a packet, which gets a handle if it has none.
  ///
  /// Mirrors `FwpsNetBufferListAssociateContext1`.
  public mutating func associate(
    _ context: UInt64, with tag: ContextTag, on packet: inout TaggedPacket,
    notify: NotifyID = .none, flags: UInt32 = 0
  ) throws(TaggingError) {
    guard flags == 0 else { throw .invalidFlags }
    guard issuer.hasIssued(tag) else { throw .unknownTag }
    guard notify.rawValue <= registeredNotifies else { throw .unknownNotify }
    guard packet.layer == packetLayer || learn(packetLayer: packet.layer) else {
      throw .layerHasNoPackets
    }
    guard live + outlet.backlog <= capacity else {
      counters.handlesRefused &+= 1
      throw capacity == 0 ? .markOff : .handlesExhausted
    }
    let association = Association(tag: tag, context: context, notify: notify, layer: packet.layer)
    if let slot = slot(packet.handle) {
      guard find(tag, slot) == nil else { throw .alreadyAssociated }
      if entries[slot].parent != 0 {
        var count = 0
        forEachAssociation(slot) { _, _ in count += 1 }
        guard count < Self.maximumTags else { throw .tooManyTags }
      }
      try append(association, slot)
    } else {
      let slot = try allocate(
        fingerprint: packet.fingerprint, id: packet.id, isClone: packet.isClone)
      entries[slot].digest = packet.isClone ? 0 : packet.digest
      if packet.fragmentKey != 0 {
        entries[slot].isFragment = true
        fragments.note(
          FragmentRing.Element(
            key: packet.fragmentKey, slot: UInt32(truncatingIfNeeded: slot), packetID: packet.id))
      }
      if isObserved { entries[slot].isDatagram = packet.isDatagram }
      entries[slot].first = association
      entries[slot].associations = 1
      packet.handle = handle(slot)
    }
    countAssociation(tag)
    noteEntry(association, packet)
  }

  /// Whether packets are indicated at a layer; if so, it need not be asked about the next time.
  @inline(never)
  private mutating func learn(packetLayer number: UInt16) -> Bool {
    guard let layer = Layer(rawValue: number), layer.indicatesPackets else { return false }
    packetLayer = number
    return true
  }

  /// Tells of the packet's way into the stack, if it was tagged at the first hook that it met.
  @inline(__always)
  private mutating func noteEntry(_ association: Association, _ packet: TaggedPacket) {
    guard isObserved, !packet.isClone, let slot = slot(packet.handle), entries[slot].hops == 0
    else { return }
    emit(.enteredNetIO, association, slot, .exact, layer: packet.layer)
  }

  /// The context under `tag`; `removing` ends the association as removed by the caller.
  ///
  /// Mirrors `FwpsNetBufferListRetrieveContext0`.
  public mutating func retrieve(
    _ tag: ContextTag, from packet: inout TaggedPacket, removing: Bool = false, flags: UInt32 = 0
  ) throws(TaggingError) -> UInt64 {
    guard flags == 0 else { throw .invalidFlags }
    guard let slot = slot(packet.handle), let place = find(tag, slot) else { throw .notFound }
    let context = association(place.slot, at: place.position).context
    if removing {
      endAssociation(
        place.slot, at: place.position, .removedByCaller, .exact, layer: packet.layer)
      releaseIfBare(slot, &packet)
    }
    return context
  }

  /// Whether the packet has a context under `tag`.
  package func bears(_ tag: ContextTag, _ packet: TaggedPacket) -> Bool {
    guard let slot = slot(packet.handle) else { return false }
    return find(tag, slot) != nil
  }

  /// Moves the context under `tag` from one packet to another.
  ///
  /// Mirrors retrieving with removal, then associating.
  public mutating func move(
    _ tag: ContextTag, from source: inout TaggedPacket, to target: inout TaggedPacket
  ) throws(TaggingError) {
    guard let slot = slot(source.handle), let place = find(tag, slot) else { throw .notFound }
    let moved = association(place.slot, at: place.position)
    try put(moved, on: &target)
    endAssociation(
      place.slot, at: place.position, .movedToClone, .exact, layer: source.layer,
      other: target.handle)
    releaseIfBare(slot, &source)
  }

  /// Puts the context under `tag` on a second packet too; two associations live from now on.
  public mutating func copy(
    _ tag: ContextTag, from source: TaggedPacket, to target: inout TaggedPacket
  ) throws(TaggingError) {
    guard let slot = slot(source.handle), let place = find(tag, slot) else { throw .notFound }
    try put(association(place.slot, at: place.position), on: &target)
  }

  /// Ends every association under `tag`, one event each; returns how many.
  ///
  /// Mirrors `FwpsNetBufferListRemoveContext0` without a packet. Takes time in proportion to the
  /// handles used so far.
  public mutating func removeAll(_ tag: ContextTag, reason: RemovalReason = .removedByCaller) -> Int
  {
    var count = 0
    for slot in 1..<max(1, entries.count) where entries[slot].isLive {
      guard let position = position(of: tag, slot) else { continue }
      endAssociation(slot, at: position, reason, .exact, layer: entries[slot].first.layer)
      // Nothing is left to be kept: the sweeper may have the handle.
      if entries[slot].isParked, entries[slot].associations == 0 { entries[slot].isKept = false }
      count += 1
    }
    return count
  }

  /// The tags on a packet, at most four.
  public func tags(on packet: TaggedPacket) -> [ContextTag] {
    guard let slot = slot(packet.handle) else { return [] }
    var tags: [ContextTag] = []
    forEachAssociation(slot) { association, _ in tags.append(association.tag) }
    return tags
  }

  /// How many contexts the packet bears, or 1 if it bears one under `tag`, else 0.
  package func contextCount(on packet: TaggedPacket, under tag: ContextTag?) -> Int {
    if let tag { return bears(tag, packet) ? 1 : 0 }
    guard let slot = slot(packet.handle) else { return 0 }
    var count = 0
    forEachAssociation(slot) { _, _ in count += 1 }
    return count
  }

  private mutating func put(_ association: Association, on target: inout TaggedPacket)
    throws(TaggingError)
  {
    try associate(
      association.context, with: association.tag, on: &target, notify: association.notify)
  }

  /// A handle that stands for nothing and is borne by one waiting packet only is free again.
  private mutating func releaseIfBare(_ slot: Int, _ packet: inout TaggedPacket) {
    let entry = entries[slot]
    let others = packet.isClone ? entry.ownRoaming >> 40 == 1 : entry.roaming == 0
    guard entry.associations == 0, entry.parent == 0, entry.waiting <= 1, others, !entry.isInjected
    else { return }
    end(slot, .removedByCaller, .exact, layer: packet.layer)
    packet.handle = 0
  }

  /// Where the association under `tag` is kept: here, or shared with the handle it came from.
  func find(_ tag: ContextTag, _ slot: Int) -> (slot: Int, position: Int)? {
    if let position = position(of: tag, slot) { return (slot, position) }
    guard tag.disposition == .share else { return nil }
    var parent = Int(entries[slot].parent)
    while parent != 0 {
      if let position = position(of: tag, parent) { return (parent, position) }
      parent = Int(entries[parent].parent)
    }
    return nil
  }

  /// Calls `body` with each association that packets of this handle bear, and with the slot that
  /// keeps it: first its own, then those shared with the handles it came from.
  func forEachAssociation(_ slot: Int, _ body: (Association, Int) -> Void) {
    var holder = slot
    repeat {
      for position in 0..<Int(entries[holder].associations) {
        let association = association(holder, at: position)
        if holder == slot || association.tag.disposition == .share { body(association, holder) }
      }
      holder = Int(entries[holder].parent)
    } while holder != 0
  }

  func position(of tag: ContextTag, _ slot: Int) -> Int? {
    let count = Int(entries[slot].associations)
    guard count > 0 else { return nil }
    if entries[slot].first.tag == tag { return 0 }
    var extra = Int(entries[slot].extra)
    var position = 1
    while extra != 0, position < count {
      if extras[extra].association.tag == tag { return position }
      extra = Int(extras[extra].next)
      position += 1
    }
    return nil
  }

  func association(_ slot: Int, at position: Int) -> Association {
    guard position > 0 else { return entries[slot].first }
    var extra = Int(entries[slot].extra)
    for _ in 1..<position { extra = Int(extras[extra].next) }
    return extras[extra].association
  }

  mutating func append(_ association: Association, _ slot: Int) throws(TaggingError) {
    let count = Int(entries[slot].associations)
    guard count < Self.maximumTags else { throw .tooManyTags }
    if count == 0 {
      entries[slot].first = association
    } else {
      let extra: Int
      if freeExtra != 0 {
        extra = Int(freeExtra)
        freeExtra = extras[extra].next
      } else {
        guard extras.count <= capacity else {
          counters.handlesRefused &+= 1
          throw .handlesExhausted
        }
        extra = extras.count
        extras.append(ExtraAssociation())
      }
      extras[extra] = ExtraAssociation(association: association, next: entries[slot].extra)
      entries[slot].extra = UInt32(truncatingIfNeeded: extra)
    }
    entries[slot].associations &+= 1
  }

  mutating func takeAssociation(_ slot: Int, at position: Int) -> Association {
    let taken = association(slot, at: position)
    entries[slot].associations &-= 1
    var extra = Int(entries[slot].extra)
    guard extra != 0 else { return taken }
    if position == 0 {
      entries[slot].first = extras[extra].association
      entries[slot].extra = extras[extra].next
    } else if position == 1 {
      entries[slot].extra = extras[extra].next
    } else {
      var before = extra
      for _ in 2..<position { before = Int(extras[before].next) }
      extra = Int(extras[before].next)
      extras[before].next = extras[extra].next
    }
    extras[extra].next = freeExtra
    freeExtra = UInt32(truncatingIfNeeded: extra)
    return taken
  }
}

extension ContextTable {
  /// Raises an event for each association that packets of this handle bear.
  mutating func emitForAll(
    _ kind: LifeEventKind, _ slot: Int, _ certainty: Certainty, layer: UInt16,
    otherPacketID: UInt32 = 0
  ) {
    var holder = slot
    repeat {
      for position in 0..<Int(entries[holder].associations) {
        let association = association(holder, at: position)
        guard holder == slot || association.tag.disposition == .share else { continue }
        emit(kind, association, holder, certainty, layer: layer, otherPacketID: otherPacketID)
      }
      holder = Int(entries[holder].parent)
    } while holder != 0
  }

  /// Tells the owners of the packet's contexts that a callout cloned it.
  public mutating func noteClone(of packet: TaggedPacket) {
    guard let slot = slot(packet.handle) else { return }
    emitForAll(.clonedViaAPI, slot, .exact, layer: packet.layer)
  }
}
