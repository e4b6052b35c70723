// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging

// What other threads ask of a worker; each runs between two batches.
extension WorkerState {
  /// Puts a policy in force; where callouts may refuse, one that does keeps the policy in force.
  mutating func adopt(
    _ new: CompiledPolicy, _ options: QueueOptions, mayRefuse: Bool = true
  ) throws(BridgeError) {
    if socket.options != options {
      do {
        try socket.reconfigure(options)
      } catch {
        throw .queue(error)
      }
    }
    try adopt(new, mayRefuse)
  }

  private mutating func adopt(_ new: CompiledPolicy, _ mayRefuse: Bool) throws(BridgeError) {
    var instances: [Callout] = []
    for registration in new.callouts {
      let known = policy.callouts.firstIndex {
        $0.name == registration.name && $0.revision == registration.revision
      }
      instances.append(known.map { callouts[$0] } ?? registration.makeInstance())
    }
    if shard == 0 {
      do {
        try announce(new, instances)
      } catch {
        if mayRefuse { throw error }
      }
    }
    let kept = Set(new.callouts.flatMap(\.tags))
    for tag in Set(policy.callouts.flatMap(\.tags)).subtracting(kept) {
      _ = out.contexts.removeAll(tag, reason: .ownerGone)
    }
    callouts = instances
    heldCallouts = instances.map { HeldObject(heldByCaller: $0) }
    policy = new
    hits = [UInt64](repeating: 0, count: new.policy.filters.count)
    hooks = ([], [])
    for layer in new.policy.layers {
      guard let hook = layer.hook else { continue }
      if layer.isIPv6 { hooks.ipv6.insert(HookSet(hook)) } else { hooks.ipv4.insert(HookSet(hook)) }
    }
  }

  /// Tells callouts which filters came and went; one that refuses stops the whole change.
  private func announce(_ new: CompiledPolicy, _ instances: [Callout]) throws(BridgeError) {
    let before = Set(policy.policy.filters)
    let after = Set(new.policy.filters)
    for filter in new.policy.filters where !before.contains(filter) {
      guard let name = filter.action.callout,
        let index = new.callouts.firstIndex(where: { $0.name == name })
      else { continue }
      do {
        try instances[index].filterChanged(.added(filter))
      } catch {
        throw .filterRefused(callout: name, reason: "\(error)")
      }
    }
    for filter in policy.policy.filters where !after.contains(filter) {
      guard let name = filter.action.callout,
        let index = policy.callouts.firstIndex(where: { $0.name == name })
      else { continue }
      // A deletion cannot be refused.
      try? callouts[index].filterChanged(.deleted(filter))
    }
  }

  /// Everything counted so far.
  func statistics() -> QueueStatistics {
    var result = QueueStatistics()
    result.number = socket.options.number
    result.portID = socket.portID
    result.copyRange = socket.options.copyRange
    result.maximumLength = socket.options.maximumLength
    result.packets = counters.packets
    result.bytes = counters.bytes
    result.permitted = counters.permitted
    result.blocked = counters.blocked
    result.absorbed = counters.absorbed
    result.repeated = counters.repeated
    result.requeued = counters.requeued
    result.handedOver = counters.handedOver
    result.pended = counters.pended
    result.pendExpired = counters.pendExpired
    result.failurePolicyApplied = counters.failurePolicyApplied
    result.malformed = counters.malformed
    result.malformedMessages = counters.malformedMessages
    result.rewritten = counters.rewritten
    result.rewritesRefused = out.events.rewritesRefused
    result.verdictsUnsent = socket.verdicts.unsentCount
    result.verdicts =
      socket.verdicts.verdictCount &- counters.verdictErrors &- result.verdictsUnsent
    result.verdictMessages = socket.verdicts.messageCount
    result.idGaps = counters.idGaps
    result.flushed = counters.flushed
    result.verdictErrors = counters.verdictErrors
    result.refusals = counters.refusals
    result.pendedNow = pended.count
    result.receiveBufferBytes = socket.receiveBufferBytes
    result.tagging = out.contexts.counters
    if let status = QueueStatus.all().first(where: { $0.number == socket.options.number }) {
      result.waiting = status.waiting
      result.queueDropped = status.queueDropped
      result.userDropped = status.userDropped
      result.idsIssued =
        counters.packets &+ counters.idGaps &+ UInt64(status.lastID &- (lastID ?? 0))
    }
    result.socketDrops = SocketDrops.of(portID: socket.portID)
    return result
  }

  /// Whether nothing waits but pended packets.
  func isQuiet() -> Bool {
    guard let status = QueueStatus.all().first(where: { $0.number == socket.options.number })
    else { return true }
    if status.waiting == 0 { return true }
    return Int(status.waiting) <= pended.count && status.lastID == (lastID ?? 0)
  }
}

/// Messages that a netlink socket could not take, from /proc/net/netlink.
enum SocketDrops {
  static func of(portID: UInt32) -> UInt64 {
    let text = (try? KernelFile.text("/proc/thread-self/net/netlink")) ?? nil
    for line in (text ?? "").split(separator: "\n") {
      let columns = line.split(whereSeparator: \.isWhitespace)
      guard columns.count >= 9, columns[1] == "12", UInt32(columns[2]) == portID else { continue }
      return UInt64(columns[8]) ?? 0
    }
    return 0
  }
}
