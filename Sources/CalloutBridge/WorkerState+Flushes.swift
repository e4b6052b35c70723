// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging

/// What is known of pended packets that the kernel has taken away and told nobody.
struct FlushWatch {
  /// Packets up to this id may be among them; nil if none is missing.
  private var suspectsUpTo: UInt32?
  private var missing = 0
  private var changes: UInt64 = 0

  /// Notes how many are missing of which set; false if that is known already.
  mutating func note(missing: Int, changes: UInt64) -> Bool {
    defer { (self.missing, self.changes) = (missing, changes) }
    return (missing, changes) != (self.missing, self.changes)
  }

  mutating func suspect(upTo id: UInt32?) { suspectsUpTo = id }

  /// Whether the kernel may no longer have that packet.
  func mayHaveTaken(_ id: UInt32) -> Bool {
    suspectsUpTo.map { Int32(bitPattern: id &- $0) <= 0 } ?? false
  }
}

extension WorkerState {
  /// Ends the contexts of pended packets that the kernel has taken away: all of them when somebody
  /// unhooks a base chain, those of one device when it goes down.
  ///
  /// Call it when the socket is empty: then the kernel's count is that of the pended packets. Where
  /// it cannot be told which ones are missing, since their device is up again, all are suspects
  /// until they are decided.
  mutating func checkForFlush() {
    guard pended.count > 0,
      let status = QueueStatus.all().first(where: { $0.number == socket.options.number }),
      status.portID == socket.portID
    else { return flushes.suspect(upTo: nil) }
    if status.waiting == 0 { return forget(pended.tickets) }
    // A packet that came meanwhile is not among the pended.
    guard let lastID, status.lastID == lastID else { return }
    let missing = max(0, pended.count - Int(status.waiting))
    guard flushes.note(missing: missing, changes: pended.changes) else { return }
    guard missing > 0 else { return flushes.suspect(upTo: nil) }
    let stranded = strandedTickets()
    if stranded.count <= missing { forget(stranded) }
    flushes.suspect(upTo: stranded.count == missing ? nil : lastID)
  }

  var suspectCount: Int {
    pended.tickets.count { pended.entry($0).map { flushes.mayHaveTaken($0.packet.id) } ?? false }
  }

  /// The packets of which a device is down or gone.
  private func strandedTickets() -> [UInt64] {
    var isUp: [UInt32: Bool] = [0: true]
    return pended.tickets.filter { ticket in
      guard let devices = pended.entry(ticket)?.devices else { return false }
      return devices.indices.contains { index in
        let device = devices[index]
        let known = isUp[device] ?? NetworkDevice.isUp(device)
        isUp[device] = known
        return !known
      }
    }
  }

  private mutating func forget(_ tickets: [UInt64]) {
    for ticket in tickets {
      guard let entry = pended.remove(ticket) else { continue }
      counters.flushed &+= 1
      out.contexts.finish(
        entry.packet.handle, .queueFlushed, .inferred, layer: entry.packet.layer)
    }
  }
}
