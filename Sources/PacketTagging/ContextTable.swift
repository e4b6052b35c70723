// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// One worker's shard of the contexts: which handle stands for which (tag, context) pairs.
///
/// A handle names its shard, so each is read and written by the one thread that owns the shard.
/// Fixed memory: a table refuses when it is full, it never grows.
public struct ContextTable: ~Copyable {
  /// How a table is laid out.
  public struct Options: Sendable {
    /// Our bits of the mark; nil tags nothing.
    public var field: MarkField?
    /// Flipped at each start, so that handles of an earlier run mean nothing.
    public var epoch: Bool
    /// This shard's number, below `shards`.
    public var shard: Int
    /// How many shards share the field.
    public var shards: Int
    /// The most handles of this shard, whatever the field could number.
    public var maximumHandles: Int
    /// A context whose packet was let go and not met again for so long is lost.
    public var sweepAfter: UInt64
    /// How long an ended handle rests before it is used again.
    public var rest: UInt64
    /// How often a packet may meet our hooks under one handle.
    public var maximumHops: UInt8

    /// Options with this project's defaults; times in nanoseconds.
    public init(
      field: MarkField?, epoch: Bool = false, shard: Int = 0, shards: Int = 1,
      maximumHandles: Int = 1 << 20, sweepAfter: UInt64 = 2_000_000_000,
      rest: UInt64 = 50_000_000, maximumHops: UInt8 = 64
    ) {
      self.field = field
      self.epoch = epoch
      self.shard = shard
      self.shards = max(1, shards)
      self.maximumHandles = maximumHandles
      // An hour at most: the rings keep milliseconds in 32 bits.
      self.sweepAfter = min(sweepAfter, 3_600_000_000_000)
      self.rest = rest
      self.maximumHops = maximumHops
    }
  }

  /// The most tags on one packet.
  public static let maximumTags = 4

  /// The table's layout.
  public let options: Options
  /// CLOCK_MONOTONIC in nanoseconds, set by the owner once a batch.
  public var now: UInt64 = 0 {
    didSet { milliseconds = UInt32(truncatingIfNeeded: now / 1_000_000) }
  }
  /// `now` as the rings keep it.
  private(set) var milliseconds: UInt32 = 0
  /// What happened so far.
  public internal(set) var counters = TaggingCounters()

  /// Associations that have not ended.
  var live = 0
  /// The layer at which a packet was last found fit to be tagged.
  var packetLayer: UInt16?
  /// Handles that are kept until somebody removes what they stand for.
  var parked = 0
  /// Associations by tag number; number 0 stands for the tags that have no place of their own.
  var tagCounts = FixedArray<TagCount>(repeating: TagCount(), count: Self.countedTags)
  static let countedTags = 1024

  private let pin = AddressPin()
  let issuer: TagIssuer
  /// Our bits of a mark, none where nothing is tagged.
  @usableFromInline let fieldMask: UInt32
  /// The most handles this shard can number.
  let capacity: Int
  let base: UInt32
  private let localBits: UInt32
  var entries: FixedArray<ContextEntry>
  var extras: FixedArray<ExtraAssociation>
  var freeExtra: UInt32 = 0
  var resting: IndexRing
  /// Ended handles whose packets may still be under way: used again only when there are no others.
  var lingering: IndexRing
  /// Handles whose packets were let go, to be looked at now and then.
  var watched: IndexRing
  /// Those of them at which nobody has looked yet.
  var leaving: IndexRing
  var fragments = FragmentRing()
  /// What the kernel saw, handle by handle; nil if it is not observed.
  let sightings: SharedView<Sighting>?
  /// Which buffers bear each handle; nil if they are not counted.
  let bearers: SharedView<BearerCount>?
  let source: (any SightingSource)?
  /// Whether the kernel also tells what becomes of packets for this host.
  public let observesDelivery: Bool
  /// Whether drops are kept for `takeDrops`.
  package var keepsDrops = false
  var drops: [DroppedBearer] = []
  /// Whether the source has been asked to watch.
  var isWatchingKernel = false
  /// When there was a context last.
  var lastBusy: UInt64 = 0
  /// What the kernel said of the events that are being raised.
  var detail: EventDetail?
  var outlet: EventOutlet
  /// Notify functions below this number exist.
  public var registeredNotifies: UInt32 = 0
  /// The queue whose packets are being classified, for events.
  public var queue: UInt16 = 0

  /// A table whose events go to `events`.
  ///
  /// `source` tells what the kernel does with packets that were let go; nil if nobody does.
  public init(
    _ options: Options, issuer: TagIssuer, events: EventRing<LifeEvent>,
    source: (any SightingSource)? = nil
  ) {
    self.options = options
    self.issuer = issuer
    fieldMask = options.field?.mask ?? 0
    let shardBits = Int.bitWidth - (options.shards - 1).leadingZeroBitCount
    self.source = source
    observesDelivery = source?.tellsDelivery ?? false
    let sightings = source?.sightings
    self.sightings = sightings
    bearers = source?.bearers
    var numberBits = options.field?.handleBits ?? 0
    // No handle without a place for what the kernel sees of it.
    if let sightings {
      numberBits = min(numberBits, Int.bitWidth - 1 - sightings.count.leadingZeroBitCount)
    }
    localBits = UInt32(truncatingIfNeeded: max(0, numberBits - shardBits))
    // Local number 0 is never used, so that handle 0 means none in every shard.
    let numbers = (1 << Int(localBits)) - 1
    capacity = options.field == nil ? 0 : min(numbers, max(0, options.maximumHandles))
    base = UInt32(options.shard) << localBits
    entries = FixedArray(capacity: capacity + 1)
    entries.append(ContextEntry())
    extras = FixedArray(capacity: capacity + 1)
    extras.append(ExtraAssociation())
    resting = IndexRing(capacity: capacity + 1)
    lingering = IndexRing(capacity: source == nil ? 0 : capacity + 1)
    watched = IndexRing(capacity: capacity + 1)
    leaving = IndexRing(capacity: sightings == nil ? 0 : capacity + 1)
    outlet = EventOutlet(ring: events, reserve: capacity + 1)
  }

  /// Whether anybody reads the events that no notify function asked for.
  public var isWatched: Bool {
    get { outlet.isWatched }
    set { outlet.isWatched = newValue }
  }

  /// Moves terminal events that waited for room on their way, and tells whether any were written.
  public mutating func publishEvents() -> Bool {
    outlet.drainReserve()
    return outlet.takeWrote()
  }

  /// Whether a mark says anything in our bits.
  @inlinable @inline(__always)
  package func isMarked(_ mark: UInt32) -> Bool { mark & fieldMask != 0 }

  /// The handle in a mark, if it is one of this epoch, and the shard that owns it.
  public func shard(ofHandleIn mark: UInt32) -> Int? {
    guard let field = options.field else { return nil }
    let number = field.number(in: mark, epoch: options.epoch)
    return number == 0 ? nil : Int(number &>> localBits)
  }

  /// The shard that owns a handle, nil for none.
  package func shard(of handle: UInt32) -> Int? {
    handle == 0 ? nil : Int(handle >> localBits)
  }

  /// `mark` with our field saying "this handle", all other bits as they were.
  public func mark(_ mark: UInt32, bearing handle: UInt32, injected: Bool = false) -> UInt32 {
    options.field?.mark(mark, bearing: handle, epoch: options.epoch, injected: injected) ?? mark
  }

  func handle(_ slot: Int) -> UInt32 { base | UInt32(truncatingIfNeeded: slot) }

  /// The live slot of a handle of this shard, or nil.
  @inline(__always)
  func slot(_ handle: UInt32) -> Int? {
    // Of a handle of this shard the number within it is left, of all else 0 or more than any entry's.
    let slot = Int(handle ^ base)
    guard slot > 0, slot < entries.count, entries[slot].isLive else { return nil }
    return slot
  }

  /// A slot for a new handle: one that rested long enough, else one never used.
  mutating func allocate(fingerprint: UInt32, id: UInt32, isClone: Bool = false)
    throws(TaggingError) -> Int
  {
    guard capacity > 0 else { throw .markOff }
    let slot: Int
    let rested = resting.first.map { now &- entries[Int($0.slot)].time >= options.rest } ?? false
    if rested, let first = resting.first {
      slot = Int(first.slot)
      resting.removeFirst()
      // The next packet's: untouched for so long that it is in no cache.
      if let next = resting.first { entries.prefetch(Int(next.slot)) }
    } else if entries.count <= capacity {
      slot = entries.count
      entries.append(ContextEntry())
    } else if let first = lingering.first, now &- entries[Int(first.slot)].time >= options.rest {
      slot = Int(first.slot)
      lingering.removeFirst()
    } else {
      counters.handlesRefused &+= 1
      throw .handlesExhausted
    }
    entries[slot].begin(fingerprint: fingerprint, id: id, isClone: isClone, now: now)
    if let sightings {
      sightings[Int(handle(slot))] = Sighting()
      if let bearers { bearers[Int(handle(slot))] = bearers.isCounting ? BearerCount() : .unknown }
      if !isWatchingKernel { watchKernel() }
    }
    return slot
  }

  /// Ends the slot's associations and lets its handle rest.
  mutating func end(
    _ slot: Int, _ reason: RemovalReason, _ certainty: Certainty, layer: UInt16,
    mayReturn: Bool = false
  ) {
    let ending = entries[slot].ending(reason)
    while entries[slot].associations > 0 {
      endAssociation(slot, at: 0, ending, certainty, layer: layer)
    }
    let parent = Int(entries[slot].parent)
    // What is seen of a packet after its end must not be told of the handle's next one.
    let mayReturn =
      isObserved
      && (mayReturn || reason == .lost || reason == .released || entries[slot].ownRoaming != 0)
    if entries[slot].isParked { parked -= 1 }
    entries[slot].isParked = false
    entries[slot].isLive = false
    entries[slot].parent = 0
    entries[slot].time = now
    if mayReturn {
      lingering.append(UInt32(truncatingIfNeeded: slot), at: milliseconds)
    } else {
      resting.append(UInt32(truncatingIfNeeded: slot), at: milliseconds)
    }
    guard parent != 0, entries[parent].isLive else { return }
    entries[parent].decrement(.sharer)
    if ending.rank > entries[parent].best.rank { entries[parent].best = ending }
    if !entries[parent].hasBearers { end(parent, ending, certainty, layer: layer) }
  }

  /// Ends the association at `position` and closes the gap.
  mutating func endAssociation(
    _ slot: Int, at position: Int, _ reason: RemovalReason, _ certainty: Certainty, layer: UInt16,
    other: UInt32 = 0
  ) {
    let association = takeAssociation(slot, at: position)
    counters.endedByReason[Int(reason.rawValue)] &+= 1
    live -= 1
    tagCounts[Self.countingSlot(association.tag)].ended &+= 1
    emit(
      .contextRemoved, association, slot, certainty, layer: layer, reason: reason,
      otherHandle: other)
  }

  mutating func emit(
    _ kind: LifeEventKind, _ association: Association, _ slot: Int, _ certainty: Certainty,
    layer: UInt16, reason: RemovalReason = .none, otherHandle: UInt32 = 0,
    otherPacketID: UInt32 = 0
  ) {
    counters.events[Int(kind.rawValue)] &+= 1
    guard outlet.isWatched || association.notify != .none else { return }
    var event = LifeEvent()
    event.time = detail?.time ?? now
    event.tag = association.tag
    event.context = association.context
    event.handle = handle(slot)
    event.otherHandle = otherHandle
    event.packetID = entries[slot].lastID
    event.otherPacketID = otherPacketID
    event.notify = association.notify
    event.queue = queue
    event.associatedAt = association.layer
    event.layer = layer
    event.kind = kind
    event.reason = reason
    event.certainty = certainty
    if let detail {
      event.device = detail.device
      event.dropReason = detail.dropReason
      event.place = detail.place
      event.isRead = detail.isRead
    }
    if !outlet.put(event, isTerminal: kind == .contextRemoved) { counters.eventsLost &+= 1 }
  }
}

/// What one table has counted under one tag.
public struct TagCount: Sendable, BitwiseCopyable {
  /// Associations made.
  public var associated: UInt64 = 0
  /// Associations ended.
  public var ended: UInt64 = 0
}

extension ContextTable {
  static func countingSlot(_ tag: ContextTag) -> Int { tag.number < countedTags ? tag.number : 0 }

  /// What was counted under the tag of that number; the first 1023 tags are counted one by one.
  package func tagCounts(_ number: Int) -> TagCount {
    number > 0 && number < Self.countedTags ? tagCounts[number] : TagCount()
  }

  @inline(__always)
  mutating func countAssociation(_ tag: ContextTag) {
    counters.associated &+= 1
    live += 1
    tagCounts[Self.countingSlot(tag)].associated &+= 1
  }

  /// Terminal events that wait for room in the stream.
  public var eventBacklog: Int { outlet.backlog }
}
