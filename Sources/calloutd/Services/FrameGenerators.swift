// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import Logging
internal import Synchronization

/// The generators of the policy in force, each with a task.
final class FrameGenerators: Sendable {
  private let bridge: Bridge
  private let logger: Logger
  private let state = Mutex(State())

  private struct State {
    var running: [FrameGenerator.Job: Task<Void, Never>] = [:]
    var hasStopped = false
  }

  init(_ bridge: Bridge, _ logger: Logger) {
    self.bridge = bridge
    self.logger = logger
  }

  /// Has those of a policy run; those that it has unchanged go on.
  func follow(_ file: PolicyFile, _ roster: CalloutRoster) async {
    var wanted: [FrameGenerator.Job: TallyBoard] = [:]
    for spec in file.filters {
      guard let name = spec.filter.action.callout, let entry = roster.entries[name],
        case .generate(let generation) = entry.kind
      else { continue }
      let job = FrameGenerator.Job(
        callout: name, layer: spec.filter.layer, generation: generation)
      wanted[job] = entry.board
    }
    let ended = state.withLock { state -> [Task<Void, Never>] in
      guard !state.hasStopped else { return [] }
      let ended = state.running.filter { wanted[$0.key] == nil }.map(\.value)
      state.running = state.running.filter { wanted[$0.key] != nil }
      for (job, board) in wanted where state.running[job] == nil {
        let generator = FrameGenerator(
          job: job, bridge: bridge, tally: GeneratorTally(on: board), logger: logger)
        state.running[job] = Task { await generator.run() }
      }
      return ended
    }
    await Self.end(ended)
  }

  /// Ends all, and waits until nothing of them is under way.
  func stop() async {
    await Self.end(
      state.withLock { state in
        defer { state.running = [:] }
        state.hasStopped = true
        return Array(state.running.values)
      })
  }

  private static func end(_ tasks: [Task<Void, Never>]) async {
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }
}
