// SPDX-License-Identifier: Apache-2.0

internal import FirewallRules
internal import Kernel
internal import Logging
internal import NetfilterQueue
internal import Synchronization

extension Bridge {
  /// Stops without losing a packet: empties the rules, drains the queues, decides what still
  /// waits, unbinds, and removes our chains once no queue of anybody's holds packets.
  public func stop() async -> ShutdownReport {
    await changes.run { [self] in
      let isRunning = board.withLock { board in
        let isRunning = board.phase == .running
        board.phase = .stopped
        return isRunning
      }
      return isRunning ? await takeDown() : ShutdownReport()
    }
  }

  /// Takes everything down; not `forGood` if the bridge may be started again.
  @discardableResult
  func takeDown(forGood: Bool = true) async -> ShutdownReport {
    var report = ShutdownReport()
    injections.close()
    unwatchDevices()
    await retirePorts(for: nil)
    let (workers, firewall) = board.withLock { ($0.workers, $0.firewall) }
    if let firewall {
      do {
        try await firewall.empty()
      } catch {
        report.notes.append("rules not emptied: \(error)")
      }
    }
    let closings = workers.map { $0.mailbox.send { $0.closeIntake() } }
    let answering = zip(workers, closings).filter { $0.1?.wait(configuration.patience) != nil }
    await drain(answering.map(\.0))
    finish(workers, &report)
    stopResolving()
    let wasTracking = stopFollowingFlows()
    stream.stop(forGood: forGood)
    board.withLock { board in
      board.workers = []
      board.observer = nil
      board.capture = nil
      board.dropSessions = []
      board.objectStore = nil
    }
    if let firewall { await remove(firewall, &report) }
    if wasTracking { stopTracking() }
    return report
  }

  /// Waits until nothing waits but pended packets, twice in a row; ten seconds at most, two without
  /// progress.
  private func drain(_ workers: [Worker]) async {
    let start = ContinuousClock.now
    var progress = (packets: UInt64(0), time: start)
    var quiet = 0
    while quiet < 2 {
      let answers = workers.compactMap { worker in
        worker.mailbox.ask { (isQuiet: $0.isQuiet(), packets: $0.counters.packets) }
      }
      let packets = answers.reduce(0) { $0 + $1.packets }
      quiet = answers.allSatisfy(\.isQuiet) ? quiet + 1 : 0
      let now = ContinuousClock.now
      if packets > progress.packets { progress = (packets, now) }
      guard now < progress.time + .seconds(2), now < start + .seconds(10) else { return }
      try? await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Has every worker decide what still waits and end, and waits for that however long it takes.
  private func finish(_ workers: [Worker], _ report: inout ShutdownReport) {
    let endings = workers.map { $0.mailbox.send { $0.finish() } }
    for (shard, ending) in endings.enumerated()
    where ending?.wait(configuration.patience) == nil {
      let note =
        "queue \(Int(configuration.firstQueue) + shard): the worker does not answer, since a callout "
        + "blocks its thread; stopping waits for it"
      logger.warning("\(note)")
      report.notes.append(note)
    }
    for worker in workers { worker.join() }
    for (shard, ending) in endings.enumerated() {
      guard let (decided, dropped) = ending?.wait(.zero) else { continue }
      report.decided += decided
      guard dropped > 0 else { continue }
      report.notes.append(
        "queue \(Int(configuration.firstQueue) + shard): \(dropped) packets still waited, and were "
          + "dropped by the kernel")
    }
  }

  private func remove(_ firewall: Firewall, _ report: inout ShutdownReport) async {
    let deadline = ContinuousClock.now + .seconds(3)
    while true {
      do {
        try await firewall.remove()
        report.rulesRemoved = true
        try await (try? BootRules(besides: firewall.table))?.remove()
        return
      } catch RuleError.queuesHoldPackets(let queues) where ContinuousClock.now >= deadline {
        let numbers = queues.map { String($0.number) }.joined(separator: ", ")
        report.notes.append(
          "our empty chains stay: removing them would drop what waits in queue \(numbers); "
            + "run `calloutd rules remove` later")
        return
      } catch RuleError.queuesHoldPackets {
        try? await Task.sleep(for: .milliseconds(50))
      } catch {
        report.notes.append("rules not removed: \(error)")
        return
      }
    }
  }
}
