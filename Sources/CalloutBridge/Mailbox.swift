// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Dispatch
internal import Kernel
internal import PacketTagging
internal import Synchronization

/// How other threads ask a worker to do something: commands that it runs between two batches.
final class Mailbox: Sendable {
  typealias Command = @Sendable (inout WorkerState) -> Void

  private struct Contents {
    var commands: [Command] = []
    var isOpen = true
  }

  private let contents = Mutex(Contents())
  private let hasMail = Atomic<Bool>(false)
  let wakeUp: WakeUp

  init() throws(SystemError) {
    wakeUp = try WakeUp()
  }

  /// Leaves a command; false if the worker has gone.
  @discardableResult
  func post(_ command: @escaping Command) -> Bool {
    let isOpen = contents.withLock { contents in
      if contents.isOpen { contents.commands.append(command) }
      return contents.isOpen
    }
    guard isOpen else { return false }
    hasMail.store(true, ordering: .releasing)
    wakeUp.signal()
    return true
  }

  /// Leaves a command and waits for its result; nil if the worker has gone or does not answer.
  ///
  /// A command that was not begun in time is not run at all.
  func ask<Answer: Sendable>(
    within patience: Duration = .seconds(5),
    _ question: @escaping @Sendable (inout WorkerState) -> Answer
  ) -> Answer? {
    let box = AnswerBox<Answer>()
    let posted = post { state in if box.begin() { box.fill(question(&state)) } }
    guard posted else { return nil }
    return box.wait(patience)
  }

  /// The commands left so far.
  ///
  /// Worker thread only; costs one load if there are none.
  func collect() -> [Command] {
    guard hasMail.load(ordering: .acquiring) else { return [] }
    hasMail.store(false, ordering: .relaxed)
    wakeUp.clear()
    return contents.withLock { contents in
      let commands = contents.commands
      contents.commands = []
      return commands
    }
  }

  /// Refuses further commands and hands out the last ones.
  func close() -> [Command] {
    contents.withLock { contents in
      contents.isOpen = false
      let commands = contents.commands
      contents.commands = []
      return commands
    }
  }
}

/// One answer that one thread waits for.
private final class AnswerBox<Answer: Sendable>: Sendable {
  private enum State {
    case asked, begun, abandoned
    case answered(Answer)
  }

  private let state = Mutex(State.asked)
  private let filled = DispatchSemaphore(value: 0)

  /// False if nobody waits for the answer any more.
  func begin() -> Bool {
    state.withLock { state in
      guard case .asked = state else { return false }
      state = .begun
      return true
    }
  }

  func fill(_ value: Answer) {
    state.withLock { $0 = .answered(value) }
    filled.signal()
  }

  func wait(_ patience: Duration) -> Answer? {
    _ = filled.wait(timeout: .now() + .nanoseconds(Int(clamping: patience.nanoseconds)))
    return state.withLock { state in
      switch state {
      case .answered(let answer): return answer
      case .asked:
        state = .abandoned
        return nil
      case .begun, .abandoned: return nil
      }
    }
  }
}
