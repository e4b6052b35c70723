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

/// Brings the events of all sources into the order of their times and hands them out, on a thread of
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
  private let delay = Atomic<UInt64>(0)
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
  ///
  /// `delay` is how late a source may tell of what happened, in nanoseconds.
  func start(_ sources: [EventSource], delay: UInt64) throws(SystemError) {
    self.sources.withLock { $0 = sources }
    self.delay.store(delay, ordering: .relaxed)
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
    let delay = delay.load(ordering: .relaxed)
    var order = EventOrder()
    while true {
      let isLast = isStopping.load(ordering: .sequentiallyConsistent)
      var watermark = isLast ? .max : Self.watermark(sources, delay: delay)
      let isIdle = Self.gather(sources, into: &order)
      // What found no room in the order may be earlier than what did.
      for source in sources {
        if let left = source.ring.peek() { watermark = min(watermark, left.time) }
      }
      handOut(&order, upTo: watermark)
      if isLast, isIdle { return }
      if isIdle, order.isEmpty {
        isWaiting.store(true, ordering: .sequentiallyConsistent)
        if sources.allSatisfy({ $0.ring.count == 0 }) {
          _ = wakeUp.wait(timeout: .now() + .milliseconds(100))
        }
        isWaiting.store(false, ordering: .relaxed)
      }
      // A short rest gathers events, so that a busy worker wakes nobody packet by packet.
      if !isLast { MonotonicClock.sleep(nanoseconds: max(500_000, delay / 8)) }
    }
  }

  /// Takes what lies in the rings, as far as there is room; true if nothing did.
  private static func gather(_ sources: [EventSource], into order: inout EventOrder) -> Bool {
    let isIdle = sources.allSatisfy { $0.ring.count == 0 }
    for source in sources {
      while !order.isFull, let event = source.ring.pop() { order.add(event) }
    }
    return isIdle
  }

  /// Every event before this time has been written.
  private static func watermark(_ sources: [EventSource], delay: UInt64) -> UInt64 {
    // Read first: a source that rests after this can only write later events.
    let now = MonotonicClock.now()
    let bound = sources.reduce(now) { min($0, $1.clock.time) }
    return bound &- min(bound, delay)
  }

  private func handOut(_ order: inout EventOrder, upTo watermark: UInt64) {
    let (notifies, subscribers) = readers.withLock { readers in
      (readers.notifies, Array(readers.subscribers.values))
    }
    order.take(upTo: watermark) { event in
      for subscriber in subscribers { subscriber.yield(event) }
      let number = Int(event.notify.rawValue) - 1
      guard number >= 0, number < notifies.count else { return }
      do {
        try notifies[number].body(event)
      } catch {
        noteFailure(notifies[number].name, error)
      }
    }
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
