// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketTagging

/// One packet that waits in the kernel for a later decision.
struct PendedEntry {
  enum Timeout { case failurePolicy, permit, block, classification }
  var ticket: UInt64 = 0
  var deadline: UInt64 = 0
  var mark: UInt32 = 0
  var packet = TaggedPacket()
  var hook = Hook.prerouting
  var isIPv6 = false
  /// What is known of a bridged frame; nil for packets.
  var frame: BridgedFrame?
  var leavesByLoopback = false
  /// The devices and bridge ports it came by and leaves by, 0 where there is none.
  var devices: [4 of UInt32] = [0, 0, 0, 0]
  var timeout = Timeout.failurePolicy
  /// The flow that is authorized if the packet is permitted, and the policy that does it.
  var flow = FlowReference.none
  var authorization: UInt32 = 0
  /// New contents, if a callout rewrote the packet before another pended it.
  var payload: [UInt8] = []
  /// The packet itself, if it is to be classified yet.
  var held: HeldPacket?
}

/// The packets of one queue that were pended, with their deadlines.
///
/// A ticket names a slot and counts its uses, so a ticket that ran out decides nothing.
struct PendedPackets: ~Copyable {
  private var slots: [PendedEntry] = []
  private var free: [Int] = []
  /// A binary heap of (deadline, slot, ticket); entries of decided packets fall out when they rise.
  private var heap: [(deadline: UInt64, ticket: UInt64)] = []
  private(set) var count = 0
  /// Counts the packets that came and went.
  private(set) var changes: UInt64 = 0
  private let capacity: Int
  private var uses: UInt64 = 0

  init(capacity: Int) {
    self.capacity = capacity
  }

  /// Keeps a packet; nil if too many wait already.
  ///
  /// Its number is the ticket.
  mutating func insert(_ entry: PendedEntry) -> UInt64? {
    guard count < capacity else { return nil }
    let slot: Int
    if let last = free.popLast() {
      slot = last
    } else {
      slot = slots.count
      slots.append(PendedEntry())
    }
    uses &+= 1
    let ticket = uses << 24 | UInt64(slot)
    slots[slot] = entry
    slots[slot].ticket = ticket
    count += 1
    changes &+= 1
    push(entry.deadline, ticket)
    return ticket
  }

  /// The packet of a ticket, if it still waits.
  func entry(_ ticket: UInt64) -> PendedEntry? {
    let slot = Int(ticket & 0xff_ffff)
    guard ticket != 0, slot < slots.count, slots[slot].ticket == ticket else { return nil }
    return slots[slot]
  }

  mutating func update(_ ticket: UInt64, _ packet: TaggedPacket) {
    let slot = Int(ticket & 0xff_ffff)
    guard slot < slots.count, slots[slot].ticket == ticket else { return }
    slots[slot].packet = packet
  }

  /// Takes the packet of a ticket out.
  mutating func remove(_ ticket: UInt64) -> PendedEntry? {
    guard let entry = entry(ticket) else { return nil }
    let slot = Int(ticket & 0xff_ffff)
    slots[slot] = PendedEntry()
    free.append(slot)
    count -= 1
    changes &+= 1
    return entry
  }

  /// Takes out a packet whose deadline has passed.
  mutating func removeExpired(_ now: UInt64) -> PendedEntry? {
    while let first = heap.first, first.deadline <= now || entry(first.ticket) == nil {
      pop()
      if let entry = remove(first.ticket) { return entry }
    }
    return nil
  }

  /// The next deadline.
  var nextDeadline: UInt64? { heap.first?.deadline }

  /// The tickets of all that wait, oldest id first.
  var tickets: [UInt64] {
    slots.filter { $0.ticket != 0 }
      .sorted { Int32(bitPattern: $0.packet.id &- $1.packet.id) < 0 }
      .map(\.ticket)
  }

  private mutating func push(_ deadline: UInt64, _ ticket: UInt64) {
    if heap.count > 2 * count + 64 { forgetDecided() }
    heap.append((deadline, ticket))
    var child = heap.count - 1
    while child > 0, heap[child].deadline < heap[(child - 1) / 2].deadline {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Keeps a long deadline on top from gathering those of decided packets below it.
  private mutating func forgetDecided() {
    // What is sorted is a heap too.
    heap = heap.filter { entry($0.ticket) != nil }.sorted { $0.deadline < $1.deadline }
  }

  private mutating func pop() {
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
        if heap[child].deadline < heap[smallest].deadline { smallest = child }
      }
      if smallest == parent { return }
      heap.swapAt(parent, smallest)
      parent = smallest
    }
  }
}
