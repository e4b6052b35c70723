// SPDX-License-Identifier: Apache-2.0

/// One (tag, context) pair on a packet.
struct Association: BitwiseCopyable {
  var tag = ContextTag(rawValue: 0)
  var context: UInt64 = 0
  var notify = NotifyID.none
  var layer: UInt16 = 0
}

/// A second, third or fourth association of a packet.
struct ExtraAssociation: BitwiseCopyable {
  var association = Association()
  var next: UInt32 = 0
}

/// What a handle stands for: up to four associations and the packets that bear them.
///
/// 64 bytes, so that tagging a packet touches one cache line.
struct ContextEntry: BitwiseCopyable {
  /// Last met, or ended, in nanoseconds.
  var time: UInt64 = 0
  /// Bearers that were let go, eight bits for each `Departure`.
  var roaming: UInt64 = 0
  var fingerprint: UInt32 = 0
  /// The id of the bearer that was met last.
  var lastID: UInt32 = 0
  /// The slot whose shared associations are borne here too, 0 if none.
  var parent: UInt32 = 0
  /// The first of the further associations, 0 if none.
  var extra: UInt32 = 0
  /// Bearers that wait for a verdict.
  var waiting: UInt8 = 0
  var associations: UInt8 = 0
  var hops: UInt8 = 0
  private var flags: UInt8 = 0
  /// How often a bearer was sent round `repeatedHook`.
  var repeats: UInt8 = 0
  var repeatedHook: UInt8 = 0
  /// The highest end that one of several bearers has come to.
  var best = RemovalReason.none
  private var moreFlags: UInt8 = 0
  var first = Association()
  /// Tells the packet from others of its flow; 0 if it cannot be told.
  var digest: UInt16 = 0

  /// Stands for a new packet.
  ///
  /// In place and field by field: a whole entry made elsewhere would be copied before its parts
  /// have reached the cache.
  mutating func begin(fingerprint: UInt32, id: UInt32, isClone: Bool, now: UInt64) {
    time = now
    // A clone waits in no queue; wherever it is injected, it is the one that was let go.
    roaming = 0
    if isClone { increment(.anywhere) }
    self.fingerprint = fingerprint
    lastID = id
    parent = 0
    extra = 0
    waiting = isClone ? 0 : 1
    associations = 0
    hops = 0
    flags = flags & 2 | 1 | (isClone ? 4 : 0)
    repeats = 0
    repeatedHook = 0
    best = .none
    moreFlags = 0
    digest = 0
  }

  private subscript(flag bit: UInt8) -> Bool {
    @inline(__always) get { flags & bit != 0 }
    @inline(__always) set { flags = newValue ? flags | bit : flags & ~bit }
  }

  var isLive: Bool {
    get { self[flag: 1] }
    set { self[flag: 1] = newValue }
  }
  /// In the sweeper's ring.
  var isWatched: Bool {
    get { self[flag: 2] }
    set { self[flag: 2] = newValue }
  }
  /// Borne by a clone that its callout has not sent.
  var isKept: Bool {
    get { self[flag: 4] }
    set { self[flag: 4] = newValue }
  }

  /// Let go at INPUT: this host is where it goes.
  var isInbound: Bool {
    get { self[flag: 8] }
    set { self[flag: 8] = newValue }
  }
  /// A fragment of a packet.
  var isFragment: Bool {
    get { self[flag: 16] }
    set { self[flag: 16] = newValue }
  }

  /// A datagram, which its reader frees.
  var isDatagram: Bool {
    get { self[flag: 32] }
    set { self[flag: 32] = newValue }
  }
  /// Let go to where another hook of ours can meet it.
  var isExpected: Bool {
    get { self[flag: 128] }
    set { self[flag: 128] = newValue }
  }
  /// That its way through the stack is complete has been told.
  var isComplete: Bool {
    get { self[flag: 64] }
    set { self[flag: 64] = newValue }
  }

  /// It stands for an injection too, of which somebody else keeps the record.
  var isInjected: Bool {
    get { moreFlags & 1 != 0 }
    set { moreFlags = newValue ? moreFlags | 1 : moreFlags & ~1 }
  }
  /// Borne by a frame that was let go and is kept until its contexts are removed.
  var isParked: Bool {
    get { moreFlags & 2 != 0 }
    set { moreFlags = newValue ? moreFlags | 2 : moreFlags & ~2 }
  }

  @inline(__always)
  func count(_ departure: Departure) -> UInt8 {
    UInt8(truncatingIfNeeded: roaming &>> UInt64(departure.rawValue &* 8))
  }

  @inline(__always)
  mutating func increment(_ departure: Departure) {
    guard count(departure) < .max else { return }
    roaming &+= 1 &<< UInt64(departure.rawValue &* 8)
  }

  @inline(__always)
  mutating func decrement(_ departure: Departure) {
    guard count(departure) > 0 else { return }
    roaming &-= 1 &<< UInt64(departure.rawValue &* 8)
  }

  /// Bearers of this very handle that were let go.
  var ownRoaming: UInt64 { roaming & 0x00ff_ffff_ffff_ffff }
  /// The reason for which associations end when the last bearer ends for `reason`.
  func ending(_ reason: RemovalReason) -> RemovalReason {
    best == .none || reason.rank >= best.rank ? reason : best
  }

  var hasBearers: Bool { waiting > 0 || roaming != 0 }
}
