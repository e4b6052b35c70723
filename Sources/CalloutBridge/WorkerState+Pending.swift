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
    _ packet: borrowing ClassifiedPacket, at layer: Layer, _ callout: Int32, _ deadline: UInt64,
    _ timeout: PendedEntry.Timeout
  ) {
    guard let ticket = keep(departing, packet.metadata, deadline, timeout) else {
      return fail(unsettled, departing, .expired)
    }
    _ = unsettled.keepWaiting()
    let number = Int(callout)
    guard number >= 0, number < callouts.count else { return }
    callouts[number].pended(
      PendedPacket(
        bytes: packet.copyBytes(), layout: packet.layout, layer: layer,
        metadata: packet.metadata, ticket: ticket, desk: desk))
  }

  /// Notes a packet or frame that is to wait; nil if it cannot.
  mutating func keep(
    _ departing: Departing, _ metadata: PacketMetadata, _ deadline: UInt64,
    _ timeout: PendedEntry.Timeout
  ) -> UInt64? {
    var entry = PendedEntry()
    entry.deadline = deadline
    entry.mark = departing.mark
    entry.packet = departing.packet
    entry.hook = departing.hook
    entry.isIPv6 = departing.isIPv6
    entry.frame = departing.frame
    entry.leavesByLoopback = departing.towardsLoopback
    entry.devices = [
      metadata.inputDevice, metadata.outputDevice,
      metadata.physicalInputDevice, metadata.physicalOutputDevice,
    ]
    entry.timeout = timeout
    if flowUse.isAuthorizing {
      entry.flow = out.flows.reference(out.flow)
      entry.authorization = flowUse.generation
    }
    if out.rewritten.length > 0 {
      let contents = out.rewritten.contents
      entry.payload = contents.indices.map { contents[$0] }
    }
    guard phase == .running, let ticket = pended.insert(entry) else { return nil }
    counters.pended &+= 1
    return ticket
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
      case .classification: classify(entry, nil, isLate: true)
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
      case .classification: classify(entry, nil, isLate: true)
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
    var departing = Departing(
      packet: entry.packet, mark: entry.mark, hook: entry.hook, isIPv6: entry.isIPv6,
      towardsLoopback: entry.leavesByLoopback,
      towardsBridge: bridges.egress && switchPorts.isBridge(entry.devices[1]), frame: entry.frame)
    if flushes.mayHaveTaken(entry.packet.id) { departing.certainty = .inferred }
    out.rewritten.restore(entry.payload)
    switch decision {
    case .permit:
      counters.permitted &+= 1
      authorize(out.flows.find(entry.flow), at: entry.hook, under: entry.authorization)
      permit(unsettled, departing)
    case .block:
      counters.blocked &+= 1
      drop(unsettled, departing, reason)
    case .failurePolicy:
      fail(unsettled, departing, reason)
    }
    out.rewritten.reset()
  }
}
