// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// Where one table's events leave its thread: a bounded ring, and behind it a reserve in which
/// every live association has its place, so that a terminal event is never lost.
struct EventOutlet: ~Copyable {
  let ring: EventRing<LifeEvent>
  /// Whether anybody reads events that no notify function asked for.
  var isWatched = false
  private(set) var wrote = false
  private var reserve: [LifeEvent] = []
  private var reserveHead = 0

  init(ring: EventRing<LifeEvent>, reserve capacity: Int) {
    self.ring = ring
    reserve.reserveCapacity(capacity)
  }

  /// Terminal events that wait for room in the ring; each still uses up a handle.
  var backlog: Int { reserve.count - reserveHead }

  /// False if the event did not fit.
  ///
  /// A terminal event always does.
  mutating func put(_ event: LifeEvent, isTerminal: Bool) -> Bool {
    guard isWatched || event.notify != .none else { return true }
    wrote = true
    if backlog == 0, ring.push(event) { return true }
    guard isTerminal else { return false }
    if reserve.count == reserve.capacity, reserveHead > 0 {
      reserve.removeFirst(reserveHead)
      reserveHead = 0
    }
    reserve.append(event)
    return true
  }

  /// Moves what waits into the ring as far as there is room.
  mutating func drainReserve() {
    guard backlog > 0 else { return }
    while reserveHead < reserve.count, ring.push(reserve[reserveHead]) { reserveHead += 1 }
    wrote = true
    if reserveHead == reserve.count {
      reserve.removeAll(keepingCapacity: true)
      reserveHead = 0
    }
  }

  /// Whether events were put since the last call.
  mutating func takeWrote() -> Bool {
    defer { wrote = false }
    return wrote
  }
}
