// SPDX-License-Identifier: Apache-2.0

internal import Dispatch
internal import Kernel
internal import Logging
internal import PacketTagging
internal import Synchronization

/// What one source of events promises: none earlier than this will come.
final class EventClock: Sendable {
  private let bound = Atomic<UInt64>(.max)

  /// No event before `time` will come.
  func begin(_ time: UInt64) { bound.store(time, ordering: .sequentiallyConsistent) }

  /// None will come until the next `begin`.
  func rest() { bound.store(.max, ordering: .sequentiallyConsistent) }

  var time: UInt64 { bound.load(ordering: .sequentiallyConsistent) }
}

/// One ring that a worker, or an observer of the kernel, writes events into.
struct EventSource: Sendable {
  let ring: EventRing<LifeEvent>
  let clock: EventClock
}

/// Merges the events of all sources in the order of their times and hands them out, on a thread of
/// its own, so that a slow reader is late but never in the way.
final class EventStream: Sendable {
  typealias Notify = @Sendable (LifeEvent) throws -> Void

  private struct Readers {
    var notifies: [(name: String, body: Notify)] = []
    var subscribers: [Int: AsyncStream<LifeEvent>.Continuation] = [:]
    var nextSubscriber = 0
    var isOpen = true
  }

  private let sources: Mutex<[EventSource]> = Mutex([])
  private let readers = Mutex(Readers())
  private let isWaiting = Atomic<Bool>(false)
  private let isStopping = Atomic<Bool>(false)
  private let failures = Atomic<UInt64>(0)
  private let wakeUp = DispatchSemaphore(value: 0)
  private let thread: Mutex<DedicatedThread?> = Mutex(nil)
  private let logger: Logger
  private let interestChanged: @Sendable (Bool) -> Void

  init(logger: Logger, interestChanged: @escaping @Sendable (Bool) -> Void) {
    self.logger = logger
    self.interestChanged = interestChanged
  }

  /// Starts handing out the events of these sources.
  func start(_ sources: [EventSource]) throws(SystemError) {
    self.sources.withLock { $0 = sources }
    let thread = try DedicatedThread(name: "callout-events") { self.run() }
    self.thread.withLock { $0 = thread }
  }

  /// Hands out what is left; `forGood` ends all subscriptions.
  func stop(forGood: Bool) {
    isStopping.store(true, ordering: .sequentiallyConsistent)
    wakeUp.signal()
    thread.withLock { $0.take() }?.join()
    isStopping.store(false, ordering: .sequentiallyConsistent)
    guard forGood else { return }
    let subscribers = readers.withLock { readers in
      readers.isOpen = false
      let subscribers = readers.subscribers
      readers.subscribers = [:]
      return subscribers
    }
    for subscriber in subscribers.values { subscriber.finish() }
  }

  /// How often notify functions failed.
  var notifyFailures: UInt64 { failures.load(ordering: .relaxed) }

  /// Adds a notify function; the numbers are given in a row from 1.
  func register(_ name: String, _ body: @escaping Notify) -> NotifyID {
    readers.withLock { readers in
      readers.notifies.append((name, body))
      return NotifyID(rawValue: UInt32(readers.notifies.count))
    }
  }

  var registeredNotifies: UInt32 { readers.withLock { UInt32($0.notifies.count) } }
  var hasSubscribers: Bool { readers.withLock { !$0.subscribers.isEmpty } }

  /// All events from now on; what a slow consumer cannot take is dropped for it alone.
  func subscribe(buffering: Int) -> AsyncStream<LifeEvent> {
    let (stream, continuation) = AsyncStream<LifeEvent>.makeStream(
      bufferingPolicy: .bufferingNewest(buffering))
    let number = readers.withLock { readers -> Int? in
      guard readers.isOpen else { return nil }
      readers.nextSubscriber += 1
      readers.subscribers[readers.nextSubscriber] = continuation
      return readers.nextSubscriber
    }
    guard let number else {
      continuation.finish()
      return stream
    }
    continuation.onTermination = { [weak self] _ in self?.unsubscribe(number) }
    interestChanged(true)
    return stream
  }

  private func unsubscribe(_ number: Int) {
    let isLast = readers.withLock { readers in
      readers.subscribers[number] = nil
      return readers.subscribers.isEmpty
    }
    if isLast { interestChanged(false) }
  }

  /// Tells the stream that events were written; costs one load if it is busy.
  func wake() {
    guard isWaiting.load(ordering: .sequentiallyConsistent) else { return }
    isWaiting.store(false, ordering: .relaxed)
    wakeUp.signal()
  }

  private func run() {
    let sources = sources.withLock { $0 }
    while true {
      let isLast = isStopping.load(ordering: .sequentiallyConsistent)
      let count = drain(sources, upTo: isLast ? .max : Self.watermark(sources))
      if isLast { return }
      if count == 0 {
        isWaiting.store(true, ordering: .sequentiallyConsistent)
        if sources.allSatisfy({ $0.ring.count == 0 }) {
          _ = wakeUp.wait(timeout: .now() + .milliseconds(100))
        }
        isWaiting.store(false, ordering: .relaxed)
      }
      // A short rest gathers events, so that a busy worker wakes nobody packet by packet.
      MonotonicClock.sleep(nanoseconds: 500_000)
    }
  }

  /// Every event before this time has been written.
  private static func watermark(_ sources: [EventSource]) -> UInt64 {
    // Read first: a source that rests after this can only write later events.
    let now = MonotonicClock.now()
    return sources.reduce(now) { min($0, $1.clock.time) }
  }

  private func drain(_ sources: [EventSource], upTo watermark: UInt64) -> Int {
    let (notifies, subscribers) = readers.withLock { readers in
      (readers.notifies, Array(readers.subscribers.values))
    }
    var count = 0
    while let event = Self.takeEarliest(sources, upTo: watermark) {
      count += 1
      for subscriber in subscribers { subscriber.yield(event) }
      let number = Int(event.notify.rawValue) - 1
      guard number >= 0, number < notifies.count else { continue }
      do {
        try notifies[number].body(event)
      } catch {
        noteFailure(notifies[number].name, error)
      }
    }
    return count
  }

  private static func takeEarliest(_ sources: [EventSource], upTo watermark: UInt64) -> LifeEvent? {
    var earliest: (time: UInt64, source: Int)?
    for (number, source) in sources.enumerated() {
      guard let event = source.ring.peek(), event.time <= watermark else { continue }
      if let found = earliest, found.time <= event.time { continue }
      earliest = (event.time, number)
    }
    return earliest.flatMap { sources[$0.source].ring.pop() }
  }

  /// Counts each failure and logs the first, the second, the fourth and so on.
  private func noteFailure(_ name: String, _ error: any Error) {
    let count = failures.add(1, ordering: .relaxed).newValue
    guard count & (count - 1) == 0 else { return }
    logger.warning(
      "notify function failed",
      metadata: [
        "callout.notify": "\(name)", "callout.failures": "\(count)", "error": "\(error)",
      ])
  }
}
