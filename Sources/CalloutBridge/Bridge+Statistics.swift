// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import FirewallRules
internal import PacketTagging
internal import Synchronization

extension Bridge {
  /// What has been counted; asks every worker, so a worker that is stuck shows.
  public func statistics() async throws(BridgeError) -> BridgeStatistics {
    let (phase, workers, field, epoch, firewall, names, warnings) = board.withLock {
      ($0.phase, $0.workers, $0.field, $0.epoch, $0.firewall, $0.tagNames, $0.warnings)
    }
    guard phase == .running else { throw .wrongState("the bridge is not running") }
    var result = BridgeStatistics()
    result.backend = firewall?.backend.rawValue ?? "unmanaged"
    result.markMask = field?.mask
    result.epoch = epoch
    result.warnings = warnings
    result.notifyFailures = stream.notifyFailures
    result.tags = names.map { TagStatistics(tag: $0.tag, name: $0.name, associated: 0, ended: 0) }
    for (shard, worker) in workers.enumerated() {
      let numbers = names.map(\.tag.number)
      let answer = worker.mailbox.ask(within: .seconds(2)) { state in
        (state.statistics(), state.hits, numbers.map { state.out.contexts.tagCounts($0) })
      }
      guard let (queue, hits, tags) = answer else {
        result.isHealthy = false
        result.warnings.append(
          BridgeError.stuck(queue: configuration.firstQueue + UInt16(shard)).description)
        continue
      }
      if queue.verdictsUnsent > 0 {
        result.isHealthy = false
        result.warnings.append(
          "queue \(queue.number): the kernel would not take \(queue.verdictsUnsent) verdicts; "
            + "their packets wait until a restart")
      }
      result.queues.append(queue)
      result.tagging.add(queue.tagging)
      if result.filterHits.isEmpty { result.filterHits = hits.map { _ in 0 } }
      for (index, count) in hits.enumerated() where index < result.filterHits.count {
        result.filterHits[index] &+= count
      }
      for (index, count) in tags.enumerated() {
        result.tags[index].associated &+= count.associated
        result.tags[index].ended &+= count.ended
      }
    }
    if let firewall { await addRulePackets(firewall, &result) }
    return result
  }

  /// rule counter = ids issued + fail-open passes + queue_dropped, handed-over packets apart.
  private func addRulePackets(_ firewall: Firewall, _ result: inout BridgeStatistics) async {
    guard let counters = try? await firewall.counters() else { return }
    let earlier = board.withLock { $0.earlierRulePackets }
    let packets = counters.values.joined().reduce(earlier) { $0 &+ $1.packets }
    var seen: UInt64 = 0
    for queue in result.queues {
      seen &+= queue.idsIssued &+ UInt64(queue.queueDropped)
      seen = seen >= queue.handedOver ? seen &- queue.handedOver : 0
    }
    let passes = packets >= seen ? packets &- seen : 0
    result.rulePackets = packets
    result.failOpenPasses = configuration.failurePolicy == .permit ? passes : nil
    guard result.queues.count == 1 else { return }
    result.queues[0].rulePackets = packets
    result.queues[0].failOpenPasses = result.failOpenPasses
  }

  /// Keeps what the rules in force have counted, before they are replaced.
  func noteRulePackets(_ firewall: Firewall) async throws(RuleError) {
    let packets = try await firewall.counters().values.joined().reduce(UInt64(0)) {
      $0 &+ $1.packets
    }
    board.withLock { $0.earlierRulePackets &+= packets }
  }
}
