// SPDX-License-Identifier: Apache-2.0

internal import ConnectionTracking
internal import Kernel
internal import Synchronization

/// Reads what the kernel tells of connections, on a thread of its own.
final class FlowTracker: Sendable {
  private let wakeUp: WakeUp
  private let isOver = Atomic<Bool>(false)
  private let lost = Atomic<UInt64>(0)
  private let thread = Mutex<DedicatedThread?>(nil)

  /// Begins to read; `deliver` is given events in their order, many at once where many come.
  init(
    deliver: @escaping @Sendable ([ConntrackEvent]) -> Void
  ) throws(ConntrackError) {
    let box = WatcherBox(try ConntrackWatcher())
    do throws(SystemError) {
      wakeUp = try WakeUp()
    } catch {
      throw .system(error)
    }
    do throws(SystemError) {
      let started = try DedicatedThread(name: "callout-flows") { [self] in
        guard var watcher = box.take() else { return }
        run(&watcher, deliver)
      }
      thread.withLock { $0 = started }
    } catch {
      throw .system(error)
    }
  }

  /// How often events were lost: then flows end by their idleness.
  var overruns: UInt64 { lost.load(ordering: .relaxed) }

  /// Ends the thread and waits for that.
  func end() {
    isOver.store(true, ordering: .releasing)
    wakeUp.signal()
    thread.withLock { $0.take() }?.join()
  }

  private func run(
    _ watcher: inout ConntrackWatcher, _ deliver: ([ConntrackEvent]) -> Void
  ) {
    var poller = Poller(watcher.pollDescriptor, wakeUp.number)
    while true {
      poller.wait(milliseconds: -1)
      if isOver.load(ordering: .acquiring) { return }
      var events: [ConntrackEvent] = []
      do throws(ConntrackError) {
        while events.count < 1024, let event = try watcher.next() {
          if event == .overrun { lost.add(1, ordering: .relaxed) }
          events.append(event)
        }
      } catch {
        // Of a socket that has failed there is no more to come.
        return deliver(events)
      }
      if !events.isEmpty { deliver(events) }
    }
  }

  /// Carries the watcher, which cannot be copied, into the thread's closure.
  private final class WatcherBox: Sendable {
    private let watcher: Mutex<ConntrackWatcher?>
    init(_ watcher: consuming sending ConntrackWatcher) { self.watcher = Mutex(watcher) }
    func take() -> sending ConntrackWatcher? { watcher.withLock { $0.take() } }
  }
}
