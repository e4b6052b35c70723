// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketTagging

/// The flows of one worker's packets: fixed in size, so that nothing is allocated as packets come.
package struct FlowTable: ~Copyable {
  private var heads: FixedArray<Int32>
  private var flows: FixedArray<FlowEntry>
  var notes: FixedArray<FlowNote>
  private var freeFlow: Int32 = -1
  var freeNote: Int32 = -1
  private let mask: Int
  private let seed = UInt64.random(in: 1...UInt64.max)
  private var lastID: UInt64 = 0
  private var hand = 0
  /// How many flows there are.
  package private(set) var count = 0
  /// How many contexts there are.
  package internal(set) var contexts = 0
  /// Whether `meet` has last begun a flow.
  package private(set) var hasBegun = false
  /// Packets whose flow found no room.
  package private(set) var refused: UInt64 = 0
  /// Contexts whose callouts are still to be told that they have gone.
  package var deletions: [FlowDeletion] = []

  /// A table for `capacity` flows with two contexts each; with 0 it holds nothing and takes no room.
  package init(capacity: Int) {
    let capacity = min(max(capacity, 0), 1 << 24)
    var places = 1
    while places < capacity { places *= 2 }
    mask = places - 1
    heads = FixedArray(repeating: -1, count: places)
    flows = FixedArray(capacity: capacity)
    notes = FixedArray(capacity: 2 * capacity)
    deletions.reserveCapacity(capacity > 0 ? 64 : 0)
  }

  package subscript(place: Int32) -> FlowEntry {
    get { flows[Int(place)] }
    _modify { yield &flows[Int(place)] }
  }

  /// Where the flow of a key is, -1 if it is not here.
  package func find(_ key: FlowKey) -> Int32 {
    var place = heads[Int(truncatingIfNeeded: key.hash(seed)) & mask]
    while place >= 0 {
      if flows[Int(place)].key == key { return place }
      place = flows[Int(place)].next
    }
    return -1
  }

  /// Where the flow is that somebody remembers, -1 if it has ended.
  package func find(_ reference: FlowReference) -> Int32 {
    let place = reference.place
    guard place >= 0, Int(place) < flows.count, flows[Int(place)].isUsed,
      flows[Int(place)].id == reference.id
    else { return -1 }
    return place
  }

  /// A way to come back to a flow.
  package func reference(_ place: Int32) -> FlowReference {
    place < 0 ? .none : FlowReference(place: place, id: flows[Int(place)].id)
  }

  /// The flow of a packet, begun if it is the first; -1 if there is no room.
  package mutating func meet(_ key: FlowKey, at now: UInt64) -> Int32 {
    let head = Int(truncatingIfNeeded: key.hash(seed)) & mask
    var place = heads[head]
    while place >= 0 {
      if flows[Int(place)].key == key {
        flows[Int(place)].lastMet = now
        hasBegun = false
        return place
      }
      place = flows[Int(place)].next
    }
    return begin(key, head, now)
  }

  private mutating func begin(_ key: FlowKey, _ head: Int, _ now: UInt64) -> Int32 {
    let place: Int32
    var entry = FlowEntry(key: key)
    if freeFlow >= 0 {
      place = freeFlow
      freeFlow = flows[Int(place)].next
    } else if flows.append(entry) {
      place = Int32(flows.count - 1)
    } else {
      refused &+= 1
      hasBegun = false
      return -1
    }
    lastID &+= 1
    entry.id = lastID
    entry.lastMet = now
    entry.isUsed = true
    entry.next = heads[head]
    flows[Int(place)] = entry
    heads[head] = place
    count &+= 1
    hasBegun = true
    return place
  }

  /// Ends a flow; its contexts become deletions.
  package mutating func end(_ place: Int32) {
    guard place >= 0, Int(place) < flows.count, flows[Int(place)].isUsed else { return }
    dropNotes(of: place)
    let head = Int(truncatingIfNeeded: flows[Int(place)].key.hash(seed)) & mask
    if heads[head] == place {
      heads[head] = flows[Int(place)].next
    } else {
      var before = heads[head]
      while before >= 0, flows[Int(before)].next != place { before = flows[Int(before)].next }
      if before >= 0 { flows[Int(before)].next = flows[Int(place)].next }
    }
    flows[Int(place)].isUsed = false
    flows[Int(place)].next = freeFlow
    freeFlow = place
    count &-= 1
  }

  /// Ends all flows.
  package mutating func endAll() {
    for place in 0..<flows.count where flows[place].isUsed { end(Int32(place)) }
  }

  /// The next flow among `limit` places that `isOver` picks, -1 if there is none; a few at each look.
  package mutating func look(_ limit: inout Int, for isOver: (FlowEntry) -> Bool) -> Int32 {
    if flows.count == 0 { limit = 0 }
    while limit > 0 {
      limit -= 1
      hand = hand + 1 < flows.count ? hand + 1 : 0
      if flows[hand].isUsed, isOver(flows[hand]) { return Int32(hand) }
    }
    return -1
  }

  /// Calls `body` for each flow.
  package mutating func change(_ body: (inout FlowEntry) -> Void) {
    for place in 0..<flows.count where flows[place].isUsed { body(&flows[place]) }
  }

  /// How many places `look` has to look at to see every flow.
  package var placesUsed: Int { flows.count }
}
