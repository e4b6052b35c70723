// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import ConnectionTracking
internal import Kernel
internal import PacketTagging
internal import Synchronization

// Flows: who is told of their ends, and what callouts hold on them.
extension Bridge {
  /// Takes off all flow contexts of a callout, `flowDeleted` once each; returns how many.
  ///
  /// Mirrors `FwpsFlowRemoveContext0` for all flows, as a driver does before it unregisters.
  public func removeFlowContexts(ofCallout name: String) -> Int {
    board.withLock { $0.workers }.reduce(0) { sum, worker in
      sum
        + (worker.mailbox.ask { state in
          guard let number = state.policy.callouts.firstIndex(where: { $0.name == name }) else {
            return 0
          }
          let before = state.out.flows.contexts
          state.out.flows.removeAll(of: Int32(number))
          let removed = before - state.out.flows.contexts
          state.tellDeletions()
          return removed
        } ?? 0)
    }
  }

  /// How many flow contexts a callout holds.
  public func flowContexts(ofCallout name: String) -> Int {
    board.withLock { $0.workers }.reduce(0) { sum, worker in
      sum
        + (worker.mailbox.ask { state in
          guard state.out.flows.contexts > 0,
            let number = state.policy.callouts.firstIndex(where: { $0.name == name })
          else { return 0 }
          return state.out.flows.contexts(of: Int32(number))
        } ?? 0)
    }
  }

  /// Refuses to lose a callout that holds flow contexts.
  ///
  /// `STATUS_DEVICE_BUSY` of `FwpsCalloutUnregisterByKey0`.
  func checkFlowContexts(_ next: CompiledPolicy) throws(BridgeError) {
    let current = board.withLock { $0.policy?.callouts ?? [] }
    for (callout, number) in zip(current, next.numbers(of: current)) where number == nil {
      let count = flowContexts(ofCallout: callout.name)
      if count > 0 { throw .calloutBusy(callout.name, contexts: count) }
    }
  }

  /// Has the kernel track connections and tell of them, if `policy` follows flows.
  ///
  /// Once begun it goes on until the bridge stops: taking it back empties queues.
  func followFlows(for policy: CompiledPolicy) {
    guard policy.followsFlows, board.withLock({ $0.flowTracker }) == nil else { return }
    do throws(ConntrackError) {
      // Before connections are tracked: those that begin without a listener are never told of.
      let tracker = try FlowTracker(
        room: configuration.flowEventBytes,
        FlowTracker.Listener(
          take: { [weak self] events in self?.tellWorkers { $0.take(events) } },
          endOthers: { [weak self] all in self?.tellWorkers { $0.endFlows(without: all) } }))
      board.withLock { $0.flowTracker = tracker }
      try ConntrackUse.begin(table: flowTable)
      board.withLock { $0.isTracking = true }
    } catch {
      warn("the ends of flows are not told, so flows end when they are idle: \(error)")
    }
  }

  private func tellWorkers(_ command: @escaping Mailbox.Command) {
    for worker in board.withLock({ $0.workers }) { worker.mailbox.post(command) }
  }

  /// How often the kernel's events of connections came too fast to be read.
  package var flowOverruns: UInt64 { board.withLock { $0.flowTracker }?.overruns ?? 0 }

  /// How many flows there are of which the kernel has told.
  package var followedFlows: Int {
    board.withLock { $0.workers }.reduce(0) { sum, worker in
      sum + (worker.mailbox.ask { $0.followedFlows } ?? 0)
    }
  }

  /// How many connections were marked as released.
  package var releasedFlows: UInt64 { board.withLock { $0.flowReleaser }?.count ?? 0 }

  /// Takes back the listening.
  func stopFollowingFlows() -> Bool {
    let (tracker, releaser) = board.withLock { board in
      (board.flowTracker.take(), board.flowReleaser.take())
    }
    releaser?.end()
    tracker?.end()
    return tracker != nil
  }

  /// Takes back the tracking, unless queues of others would lose what waits in them.
  func stopTracking() {
    guard QueueStatus.all().allSatisfy({ $0.waiting == 0 }) else {
      return warn("table \(flowTable) stays: removing it would drop what waits in queues")
    }
    do throws(ConntrackError) {
      try ConntrackUse.end(table: flowTable)
    } catch {
      warn("connections may still be tracked for us: \(error)")
    }
  }

  private var flowTable: String { ConntrackUse.table(of: configuration.ruleTable) }
}
