// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketTagging
internal import Synchronization

/// The programs that count which buffers bear each handle: all of them, or none.
///
/// They hook kernel functions, which takes the kernel tens of milliseconds, so they are attached
/// away from the packet path. What was tagged until then is not counted.
final class CopyCounters: Sendable {
  /// How long they stay after the last watcher, so that packets now and then are counted as well.
  private static let restTime = Duration.seconds(60)

  private let programs: [LoadedProgram]
  private let array: SharedArray<BearerCount>
  private let state = Mutex(State())

  private struct State {
    /// Changes with each watcher that comes and goes.
    var turn = 0
    var isAttaching = false
    var links: [AttachedProgram] = []
  }

  init(maps: borrowing ObserverMaps, settings: ObserverSettings) throws(CopyCountingError) {
    do throws(SystemError) {
      programs = try LoadedProgram.load(
        ObserverProgram.counters, maps: maps, settings: settings)
      array = try SharedArray(mapping: maps.bearers, count: KernelObserver.capacity)
    } catch {
      throw CopyCountingError(support: ObserverProgram.cloned.unsupported(error))
    }
  }

  var bearers: SharedView<BearerCount> { array.view }

  /// Begins to attach them, if they are not attached.
  func watch() {
    let begins = state.withLock { state in
      state.turn &+= 1
      guard state.links.isEmpty, !state.isAttaching else { return false }
      state.isAttaching = true
      return true
    }
    guard begins else { return }
    Task.detached { [weak self] in self?.attach() }
  }

  private func attach() {
    let links = programs.compactMap { try? AttachedProgram($0) }
    state.withLock { state in
      state.isAttaching = false
      // The next watcher tries again.
      guard links.count == programs.count else { return }
      state.links = links
      bearers.isCounting = true
    }
  }

  /// Detaches them some time later, if nobody watches then.
  func rest() {
    let turn = state.withLock { state in
      state.turn &+= 1
      return state.turn
    }
    Task.detached { [weak self] in
      try? await Task.sleep(for: Self.restTime)
      self?.detach(at: turn)
    }
  }

  private func detach(at turn: Int) {
    let links = state.withLock { state -> [AttachedProgram] in
      guard state.turn == turn else { return [] }
      bearers.isCounting = false
      defer { state.links = [] }
      return state.links
    }
    withExtendedLifetime(links) {}
  }
}

/// Why copies cannot be counted here.
struct CopyCountingError: Error {
  var support: FeatureSupport
}
