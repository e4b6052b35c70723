// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketTagging
internal import Synchronization

/// The programs that count which buffers bear each handle: all of them, or none.
///
/// They hook kernel functions, which takes the kernel much longer than tracepoints, so they are
/// attached away from the packet path. What was tagged until then is not counted.
final class CopyCounters: Sendable {
  /// How long they stay after the last watcher, so that packets now and then are counted as well.
  private static let restTime = Duration.seconds(60)
  /// How long until what failed is tried again.
  private static let retryTime = Duration.seconds(1)

  private let programs: [LoadedProgram]
  private let array: SharedArray<BearerCount>
  private let state = Mutex(State())

  private struct State {
    /// Changes with each watcher that comes and goes.
    var turn = 0
    var isWanted = false
    /// Somebody attaches or detaches.
    var isChanging = false
    var links: [AttachedProgram] = []
    var failure: SystemError?

    /// False if there is nothing to change, or somebody does so already.
    mutating func begin() -> Bool {
      guard !isChanging, isWanted == links.isEmpty else { return false }
      isChanging = true
      return true
    }
  }

  init(
    sightings: borrowing OwnedDescriptor, settings: ObserverSettings
  ) throws(SystemError) {
    let bearers = try ObserverMap.make("callout_bearers", of: BearerCount.self)
    programs = try LoadedProgram.load(
      ObserverProgram.counters, sightings: sightings.number, bearers: bearers.number,
      settings: settings)
    array = try SharedArray(mapping: bearers, count: ObserverMap.capacity)
  }

  var bearers: SharedView<BearerCount> { array.view }

  /// Why they could not be attached the last time, if that failed.
  var failure: SystemError? { state.withLock { $0.failure } }

  /// Begins to attach them, if they are not attached.
  func watch() {
    let begins = state.withLock { state in
      state.turn &+= 1
      state.isWanted = true
      return state.begin()
    }
    if begins { change() }
  }

  /// Detaches them some time later, if nobody watches then.
  func rest() {
    let turn = state.withLock { state in
      state.turn &+= 1
      return state.turn
    }
    Task.detached { [weak self] in
      try? await Task.sleep(for: Self.restTime)
      self?.stopWatching(since: turn)
    }
  }

  private func stopWatching(since turn: Int) {
    let begins = state.withLock { state in
      guard state.turn == turn else { return false }
      state.isWanted = false
      return state.begin()
    }
    if begins { change() }
  }

  private func change() {
    Task.detached { [weak self] in
      while let self, let pause = self.bringAbout() { try? await Task.sleep(for: pause) }
    }
  }

  /// Attaches or detaches, as is wanted; gives the time until it is to be called again, nil if all is
  /// as it should be.
  private func bringAbout() -> Duration? {
    let isWanted = state.withLock { state -> Bool? in
      state.isChanging = state.isWanted == state.links.isEmpty
      return state.isChanging ? state.isWanted : nil
    }
    guard let isWanted else { return nil }
    guard isWanted else {
      bearers.isCounting = false
      let links = state.withLock { state in
        defer { state.links = [] }
        return state.links
      }
      withExtendedLifetime(links) {}
      return .zero
    }
    do throws(SystemError) {
      var links: [AttachedProgram] = []
      for program in programs { links.append(try AttachedProgram(program)) }
      state.withLock { state in
        state.links = links
        state.failure = nil
      }
      bearers.isCounting = true
      return .zero
    } catch {
      state.withLock { $0.failure = error }
      return Self.retryTime
    }
  }
}
