// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// An IPv4 address that belongs to one Ethernet address.
public struct ARPBinding: Sendable, Hashable {
  /// The IPv4 address.
  public var address: IPAddress
  /// Whose it is.
  public var owner: MACAddress

  /// A binding.
  public init(_ address: IPAddress, _ owner: MACAddress) {
    self.address = address
    self.owner = owner
  }
}

/// The bindings that somebody gave, of which the first for an address counts.
struct KnownBindings {
  private let bindings: [ARPBinding]

  init(_ given: [ARPBinding]) {
    var seen: Set<IPAddress> = []
    bindings = given.filter { seen.insert($0.address).inserted }
      .sorted { $0.address.low < $1.address.low }
  }

  /// Whose the address is.
  func owner(of address: IPAddress) -> MACAddress? {
    let bindings = bindings.span
    var (low, high) = (0, bindings.count)
    while low < high {
      let middle = (low + high) / 2
      if bindings[middle].address.low < address.low { low = middle + 1 } else { high = middle }
    }
    return low < bindings.count && bindings[low].address == address ? bindings[low].owner : nil
  }
}

/// Which Ethernet address was seen with which IPv4 address, in a table that never grows.
///
/// One place for each address by its hash, and seven behind it: where all are taken by others that
/// were heard of lately, a new one is not learned.
struct LearnedBindings {
  private struct Entry: BitwiseCopyable {
    var key: UInt64 = 0
    var owner: UInt64 = 0
    var seen: UInt64 = 0
    var isUsed = false
  }

  enum Answer { case same, learned, full, conflict(MACAddress) }

  private static let probes = 8
  private var entries: [Entry]
  private let mask: Int
  private let lifetime: UInt64

  /// A table for about `capacity` addresses, each kept for `lifetime` after it was heard of last.
  init(capacity: Int, lifetime: UInt64) {
    var size = Self.probes
    while size < min(max(capacity, 1), 1 << 20) { size *= 2 }
    entries = [Entry](repeating: Entry(), count: size)
    mask = size - 1
    self.lifetime = lifetime
  }

  /// Compares what a packet claims with what was heard before, and learns what is new.
  mutating func hear(
    _ address: IPAddress, in segment: UInt32, from owner: MACAddress, at now: UInt64
  ) -> Answer {
    let key = UInt64(segment) << 32 | (address.low & 0xffff_ffff)
    let start = Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 40)
    var free: Int?
    for step in 0..<Self.probes {
      let place = (start &+ step) & mask
      let entry = entries[place]
      let isAlive = entry.isUsed && now &- entry.seen < lifetime
      if isAlive, entry.key == key {
        guard entry.owner == owner.rawValue else {
          return .conflict(MACAddress(rawValue: entry.owner))
        }
        entries[place].seen = now
        return .same
      }
      if !isAlive, free == nil { free = place }
    }
    guard let free else { return .full }
    entries[free] = Entry(key: key, owner: owner.rawValue, seen: now, isUsed: true)
    return .learned
  }
}

/// How often each sender may send, in a table that never grows.
///
/// Two senders that share a place share its rate while both are busy.
struct SenderRates {
  private struct Entry: BitwiseCopyable {
    var owner: UInt64 = 0
    var fullAt: UInt64 = 0
  }

  private var entries = [Entry](repeating: Entry(), count: 1024)
  private let interval: UInt64
  private let room: UInt64

  init(_ rate: EventRate) {
    let period = Classification.nanoseconds(rate.period)
    interval = rate.count == 0 ? period : max(1, period / UInt64(rate.count))
    room = rate.count == 0 ? 0 : interval &* UInt64(rate.count - 1)
  }

  mutating func admits(_ sender: MACAddress, at now: UInt64) -> Bool {
    let place = Int(truncatingIfNeeded: (sender.rawValue &* 0x9e37_79b9_7f4a_7c15) >> 54)
    if entries[place].owner != sender.rawValue, entries[place].fullAt <= now {
      entries[place] = Entry(owner: sender.rawValue, fullAt: 0)
    }
    let full = entries[place].fullAt
    guard full <= now &+ room else { return false }
    entries[place].fullAt = max(full, now) &+ interval
    return true
  }
}
