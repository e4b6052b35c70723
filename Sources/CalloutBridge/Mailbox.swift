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
  private let owner = Atomic<UInt>(0)
  private let patience: Duration
  let wakeUp: WakeUp

  /// A mailbox whose worker is waited for so long.
  init(patience: Duration) throws(SystemError) {
    self.patience = patience
    wakeUp = try WakeUp()
  }

  /// Says that the calling thread is the one that collects.
  func own() { owner.store(DedicatedThread.current, ordering: .releasing) }

  /// Whether the calling thread is the one that collects: it cannot wait for itself.
  var isOwn: Bool { owner.load(ordering: .acquiring) == DedicatedThread.current }

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

  /// Leaves a command whose result will come; nil if the worker has gone.
  func send<Answer: Sendable>(
    _ question: @escaping @Sendable (inout WorkerState) -> Answer
  ) -> Promise<Answer>? {
    let promise = Promise<Answer>()
    return post { promise.keep(question(&$0)) } ? promise : nil
  }

  /// Leaves a command and waits for its result; nil if the worker has gone, or does not answer in
  /// time: then the command runs before the worker's next packet.
  ///
  /// The worker's own thread gets nil at once.
  func ask<Answer: Sendable>(
    within patience: Duration? = nil,
    _ question: @escaping @Sendable (inout WorkerState) -> Answer
  ) -> Answer? {
    let promise = send(question)
    return isOwn ? nil : promise?.wait(patience ?? self.patience)
  }

  /// Whether commands wait.
  var hasCommands: Bool { hasMail.load(ordering: .acquiring) }

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

/// One answer that will come.
final class Promise<Answer: Sendable>: Sendable {
  private let answer = Mutex<Answer?>(nil)
  private let isKept = DispatchSemaphore(value: 0)

  fileprivate func keep(_ value: Answer) {
    answer.withLock { $0 = value }
    isKept.signal()
  }

  /// The answer, or nil if it has not come by then.
  func wait(_ patience: Duration) -> Answer? {
    if let value = answer.withLock({ $0 }) { return value }
    _ = isKept.wait(timeout: .now() + .nanoseconds(Int(clamping: patience.nanoseconds)))
    return answer.withLock { $0 }
  }
}
