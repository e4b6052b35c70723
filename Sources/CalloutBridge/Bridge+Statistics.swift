// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import CalloutLifecycle
internal import FirewallRules
internal import PacketTagging
internal import Synchronization

extension Bridge {
  /// What has been counted; asks every worker, so a worker that is stuck shows.
  public func statistics() async throws(BridgeError) -> BridgeStatistics {
    let (phase, workers, field, epoch, names, warnings) = board.withLock {
      ($0.phase, $0.workers, $0.field, $0.epoch, $0.tagNames, $0.warnings)
    }
    let (firewall, policy, rules) = board.withLock {
      ($0.firewall, $0.policy?.policy, $0.rules)
    }
    guard phase == .running else { throw .wrongState("the bridge is not running") }
    var result = BridgeStatistics()
    result.warnings = warnings
    result.backend = firewall?.backend.rawValue ?? "unmanaged"
    result.isObserved = isObserved
    if let failure = board.withLock({ $0.observer?.failure }) {
      result.isHealthy = false
      result.warnings.append("what becomes of packets cannot be told: \(failure)")
    }
    if let failure = board.withLock({ $0.observer?.countingFailure }) {
      result.warnings.append("copies of packets are inferred, not counted: \(failure)")
    }
    result.markMask = field?.mask
    result.epoch = epoch
    result.notifyFailures = stream.notifyFailures
    result.tags = names.map { TagStatistics(tag: $0.tag, name: $0.name, associated: 0, ended: 0) }
    for (shard, worker) in workers.enumerated() {
      let numbers = names.map(\.tag.number)
      let answer = worker.mailbox.ask(within: .seconds(2)) { state in
        (
          state.statistics(), state.hits, numbers.map { state.out.contexts.tagCounts($0) },
          state.frameStatistics(), state.portStatistics()
        )
      }
      guard let (queue, hits, tags, frames, ports) = answer else {
        result.isHealthy = false
        result.stuckQueues.append(configuration.firstQueue + UInt16(shard))
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
      result.frames.add(frames)
      result.ports += ports
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
    result.frames.tooManyHops = injections.tooManyHops
    checkInterfaces(&result)
    if let firewall, let policy, let rules { await addRules(firewall, rules, policy, &result) }
    return result
  }

  /// Whether the rules stand, and what they have counted.
  private func addRules(
    _ firewall: Firewall, _ wanted: RuleSet, _ policy: FilterPolicy,
    _ result: inout BridgeStatistics
  ) async {
    let installed: InstalledRules
    do {
      installed = try await firewall.installed() ?? InstalledRules(noneOf: firewall)
    } catch {
      result.isHealthy = false
      result.warnings.append("our rules cannot be read: \(error)")
      return
    }
    let differences = installed.differences(from: wanted)
    if !differences.isEmpty {
      result.isHealthy = false
      result.warnings.append(
        "our rules in table \(firewall.table) have been changed or removed: run calloutctl reload "
          + "to put them back (\(differences.joined(separator: "; ")))")
    }
    if !installed.intruders.isEmpty {
      result.isHealthy = false
      result.warnings.append(
        "rules of others stand in our chains and may decide before ours, delete them there: "
          + installed.intruders.joined(separator: "; "))
    }
    result.kernelHits = kernelHits(installed, wanted, policy)
    addRulePackets(installed, &result)
  }

  /// rule counter = ids issued + fail-open passes + queue_dropped, handed-over packets apart.
  private func addRulePackets(_ rules: InstalledRules, _ result: inout BridgeStatistics) {
    let earlier = board.withLock { $0.earlierRulePackets }
    let packets = rules.rules.reduce(earlier) { $0 &+ $1.packets }
    let issued = result.queues.reduce(0) { $0 &+ $1.idsIssued &+ UInt64($1.queueDropped) }
    let handedOver = result.queues.reduce(0) { $0 &+ $1.handedOver }
    let seen = issued >= handedOver ? issued &- handedOver : 0
    let passes = packets >= seen ? packets &- seen : 0
    result.rulePackets = packets
    result.failOpenPasses = configuration.failurePolicy == .permit ? passes : nil
    guard result.queues.count == 1 else { return }
    result.queues[0].rulePackets = packets
    result.queues[0].failOpenPasses = result.failOpenPasses
  }
}
