// SPDX-License-Identifier: Apache-2.0

internal import FirewallRules
internal import Kernel
internal import NetfilterQueue
internal import Synchronization

extension Bridge {
  /// Stops without losing a packet: empties the rules, drains the queues, decides what still
  /// waits, unbinds, and removes our chains once no queue of anybody's holds packets.
  public func stop() async -> ShutdownReport {
    await changes.run {
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
    let (workers, firewall) = board.withLock { ($0.workers, $0.firewall) }
    if let firewall {
      do {
        try await firewall.empty()
      } catch {
        report.notes.append("rules not emptied: \(error)")
      }
    }
    let policy = configuration.failurePolicy
    for worker in workers {
      _ = worker.mailbox.ask { state in
        state.phase = .draining
        state.socket.closeIntake(passing: policy == .permit)
      }
    }
    await drain(workers)
    for worker in workers {
      report.decided += worker.mailbox.ask { $0.settleAllPended() } ?? 0
    }
    for worker in workers {
      worker.mailbox.post { state in
        state.socket.unbind()
        state.phase = .stopped
      }
    }
    for worker in workers { worker.join() }
    stream.stop(forGood: forGood)
    board.withLock { $0.workers = [] }
    if let firewall { await remove(firewall, &report) }
    return report
  }

  /// Waits until nothing waits but pended packets, twice in a row; two seconds at most.
  private func drain(_ workers: [Worker]) async {
    var quiet = 0
    let deadline = ContinuousClock.now + .seconds(2)
    while quiet < 2, ContinuousClock.now < deadline {
      let isQuiet = workers.allSatisfy { worker in worker.mailbox.ask { $0.isQuiet() } ?? true }
      quiet = isQuiet ? quiet + 1 : 0
      try? await Task.sleep(for: .milliseconds(5))
    }
  }

  private func remove(_ firewall: Firewall, _ report: inout ShutdownReport) async {
    let deadline = ContinuousClock.now + .seconds(3)
    while true {
      do {
        try await firewall.remove()
        report.rulesRemoved = true
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
