// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews

// Packets that wait for a later decision. Off the packet path: here memory may be allocated.
extension WorkerState {
  /// Keeps the packet waiting and hands it to the callout that pended it, if one did.
  mutating func pend(
    _ unsettled: consuming UnsettledPacket, _ departing: Departing,
    _ packet: borrowing ClassifiedPacket, _ callout: Int32, _ deadline: UInt64,
    _ timeout: PendedEntry.Timeout
  ) {
    var entry = PendedEntry()
    entry.deadline = deadline
    entry.mark = departing.mark
    entry.packet = departing.packet
    entry.hook = departing.hook
    entry.isIPv6 = departing.isIPv6
    entry.leavesByLoopback = departing.towardsLoopback
    entry.devices = [
      packet.metadata.inputDevice, packet.metadata.outputDevice,
      packet.metadata.physicalInputDevice, packet.metadata.physicalOutputDevice,
    ]
    entry.timeout = timeout
    if out.rewritten.length > 0 {
      let contents = out.rewritten.contents
      entry.payload = contents.indices.map { contents[$0] }
    }
    guard phase == .running, let ticket = pended.insert(entry) else {
      return fail(unsettled, departing, .expired)
    }
    counters.pended &+= 1
    _ = unsettled.keepWaiting()
    let number = Int(callout)
    guard number >= 0, number < callouts.count else { return }
    callouts[number].pended(
      PendedPacket(
        bytes: packet.copyBytes(), layout: packet.layout, layer: packet.layer,
        metadata: packet.metadata, ticket: ticket, desk: desk))
  }

  /// Carries out a decision; a ticket that ran out decides nothing.
  mutating func decide(_ ticket: UInt64, _ decision: PendedDecision) {
    guard let entry = pended.remove(ticket) else { return }
    carryOut(entry, decision, .blocked)
  }

  /// Decides the packets whose time has come.
  mutating func expirePended() {
    while let entry = pended.removeExpired(now) {
      switch entry.timeout {
      case .failurePolicy:
        counters.pendExpired &+= 1
        carryOut(entry, .failurePolicy, .expired)
      case .permit: carryOut(entry, .permit, .blocked)
      case .block: carryOut(entry, .block, .blocked)
      }
    }
  }

  /// Decides everything that still waits, at the engine's end.
  mutating func settleAllPended() -> Int {
    let tickets = pended.tickets
    for ticket in tickets {
      guard let entry = pended.remove(ticket) else { continue }
      switch entry.timeout {
      case .failurePolicy: carryOut(entry, .failurePolicy, .expired)
      case .permit: carryOut(entry, .permit, .blocked)
      case .block: carryOut(entry, .block, .blocked)
      }
    }
    socket.verdicts.flush()
    return tickets.count
  }

  private mutating func carryOut(
    _ entry: PendedEntry, _ decision: PendedDecision, _ reason: RemovalReason
  ) {
    let unsettled = UnsettledPacket(
      entry.packet.id, verdicts: socket.verdicts, failure: failureVerdict)
    let departing = Departing(
      packet: entry.packet, mark: entry.mark, hook: entry.hook, isIPv6: entry.isIPv6,
      towardsLoopback: entry.leavesByLoopback)
    out.rewritten.restore(entry.payload)
    switch decision {
    case .permit:
      counters.permitted &+= 1
      permit(unsettled, departing)
    case .block:
      counters.blocked &+= 1
      drop(unsettled, departing, reason)
    case .failurePolicy:
      fail(unsettled, departing, reason)
    }
    out.rewritten.reset()
  }

  /// Ends the contexts of pended packets that the kernel has taken away and told nobody: all of
  /// them when somebody unhooks a base chain, those of one device when it goes down.
  ///
  /// Call it when the socket is empty: then the kernel's count is that of the pended packets. Where
  /// it cannot be told which ones are missing, their deadline ends them.
  mutating func checkForFlush() {
    guard pended.count > 0,
      let status = QueueStatus.all().first(where: { $0.number == socket.options.number }),
      status.portID == socket.portID, Int(status.waiting) < pended.count
    else { return }
    if status.waiting == 0 { return forget(pended.tickets) }
    // A packet that came meanwhile is not among the pended.
    guard status.lastID == lastID else { return }
    let missing = pended.count - Int(status.waiting)
    let stranded = pended.tickets.filter { isStranded(pended.entry($0)) }
    if stranded.count == missing { forget(stranded) }
  }

  private func isStranded(_ entry: PendedEntry?) -> Bool {
    guard let devices = entry?.devices else { return false }
    return devices.indices.contains { devices[$0] != 0 && !NetworkDevice.isUp(devices[$0]) }
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
