// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import CalloutEngine
internal import Logging
internal import Synchronization

/// The bridge with the policy in force: what all services of the daemon share.
final class Daemon: Sendable {
  /// What the daemon knows at one moment.
  struct Snapshot: Sendable {
    var phase = StatusReport.State.starting
    var file: PolicyFile
    var roster: CalloutRoster
    var reloads = 0
    /// What the last reload could not put in force.
    var restartNotes: [String] = []
  }

  let bridge: Bridge
  private let logger: Logger
  private let sink: InspectCallout.Sink
  private let state: Mutex<Snapshot>
  private let generators: FrameGenerators
  private let isReloading = Atomic<Bool>(false)

  init(
    _ bridge: Bridge, _ file: PolicyFile, _ logger: Logger,
    sink: @escaping InspectCallout.Sink
  ) {
    self.bridge = bridge
    self.logger = logger
    self.sink = sink
    generators = FrameGenerators(bridge, logger)
    let roster = CalloutRoster().following(file.callouts, tags: bridge, sink: sink)
    state = Mutex(Snapshot(file: file, roster: roster))
  }

  /// What the daemon knows now.
  var snapshot: Snapshot { state.withLock { $0 } }

  /// Puts the first policy in force.
  func start() async throws(BridgeError) {
    let now = snapshot
    try await bridge.start(now.roster.policy(of: now.file))
    state.withLock { $0.phase = .running }
    await generators.follow(now.file, now.roster)
    logger.info(
      "running",
      metadata: [
        LogKey.file: "\(now.file.path)", LogKey.filters: "\(now.file.filters.count)",
        LogKey.source: bridge.isObserved ? "kernel" : "verdicts",
      ])
  }

  /// Stops the bridge, whatever became of the task that asks.
  func stop() async {
    let hasRun = state.withLock { state in
      defer { state.phase = .stopping }
      return state.phase == .running
    }
    let report = await Task { [bridge, generators] in
      await generators.stop()
      return await bridge.stop()
    }.value
    for note in report.notes { logger.warning("stopping", metadata: [LogKey.note: "\(note)"]) }
    if hasRun { logger.info("stopped") }
  }

  /// Reads the policy file again; on any error the running policy stays.
  func reload() async throws(ControlFailure) -> ReloadReport {
    guard snapshot.phase == .running else {
      throw ControlFailure(.notRunning, "the daemon is not running; try again later")
    }
    guard isReloading.exchange(true, ordering: .acquiringAndReleasing) == false else {
      throw ControlFailure(.busy, "another reload is under way; try again later")
    }
    defer { isReloading.store(false, ordering: .releasing) }
    let old = snapshot
    let file: PolicyFile
    do { file = try PolicyFile.read(old.file.path) } catch {
      throw ControlFailure(.policy, error.description)
    }
    let roster = old.roster.following(file.callouts, tags: bridge, sink: sink)
    do {
      try await bridge.apply(roster.policy(of: file), interfaces: file.interfaces)
    } catch {
      throw ControlFailure(.failed, error.description)
    }
    await generators.follow(file, roster)
    let notes = file.restartNotes(running: old.file)
    state.withLock { state in
      // What only a restart changes is kept as it runs, so that the next reload still tells.
      var file = file
      file.keepSetup(of: old.file)
      state.file = file
      state.roster = roster
      state.reloads += 1
      state.restartNotes = notes
    }
    return ReloadReport(
      filters: file.filters.count, callouts: file.callouts.count, notes: notes)
  }
}

extension PolicyFile {
  /// What this file says otherwise than the running one and only a restart changes.
  func restartNotes(running: PolicyFile) -> [String] {
    var notes: [String] = []
    func compare(_ name: String, _ isSame: Bool) {
      if !isSame { notes.append("\(name) changed; restart calloutd to put it in force") }
    }
    let (new, old) = (configuration, running.configuration)
    compare(
      "mark", new.mark == old.mark && new.ignoresMarkConflicts == old.ignoresMarkConflicts)
    compare(
      "queues",
      new.queues == old.queues && new.copyRange == old.copyRange
        && new.maximumLength == old.maximumLength && new.failurePolicy == old.failurePolicy
        && new.pendDeadline == old.pendDeadline)
    compare("rules", new.rules == old.rules && new.ruleTable == old.ruleTable)
    compare("lifecycle", new.sweepAfter == old.sweepAfter && new.lifecycle == old.lifecycle)
    compare("metrics", metricsListen == running.metricsListen)
    return notes
  }

  /// Takes over the setup of the running file, but for what a reload changes.
  mutating func keepSetup(of running: PolicyFile) {
    let interfaces = interfaces
    configuration = running.configuration
    self.interfaces = interfaces
    metricsListen = running.metricsListen
  }
}
