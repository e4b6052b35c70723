// SPDX-License-Identifier: Apache-2.0

internal import ConnectionTracking
internal import Kernel
internal import Synchronization

/// Reads what the kernel tells of connections, on a thread of its own.
final class FlowTracker: Sendable {
  private let wakeUp: WakeUp
  private let isOver = Atomic<Bool>(false)
  private let overrunCount = Atomic<UInt64>(0)
  private let thread = Mutex<DedicatedThread?>(nil)

  /// Whom the tracker tells, on its own thread.
  struct Listener: Sendable {
    /// Is given events in their order, many at once where many come.
    var take: @Sendable ([ConntrackEvent]) -> Void
    /// Is given the numbers of all connections there are: others known before have ended.
    var endOthers: @Sendable (Set<UInt32>) -> Void
  }

  /// Begins to read, with room for so many bytes of events that are not yet read.
  init(room receiveBufferBytes: Int32, _ listener: Listener) throws(ConntrackError) {
    let box = WatcherBox(try ConntrackWatcher(receiveBufferBytes: receiveBufferBytes))
    do throws(SystemError) {
      wakeUp = try WakeUp()
    } catch {
      throw .system(error)
    }
    do throws(SystemError) {
      let started = try DedicatedThread(name: "callout-flows") { [self] in
        guard var watcher = box.take() else { return }
        run(&watcher, listener)
      }
      thread.withLock { $0 = started }
    } catch {
      throw .system(error)
    }
  }

  /// How often events were lost, and all connections looked through for what they had told.
  var overruns: UInt64 { overrunCount.load(ordering: .relaxed) }

  /// Ends the thread and waits for that.
  func end() {
    isOver.store(true, ordering: .releasing)
    wakeUp.signal()
    thread.withLock { $0.take() }?.join()
  }

  private func run(_ watcher: inout ConntrackWatcher, _ listener: Listener) {
    var poller = Poller(watcher.pollDescriptor, wakeUp.number)
    var hasLost = false
    while true {
      poller.wait(milliseconds: -1)
      if isOver.load(ordering: .acquiring) { return }
      var events: [ConntrackEvent] = []
      do throws(ConntrackError) {
        while events.count < Self.mostAtOnce, let event = try watcher.next() {
          if event == .overrun { hasLost = true } else { events.append(event) }
        }
      } catch {
        // Of a socket that has failed there is no more to come.
        return listener.take(events)
      }
      if !events.isEmpty { listener.take(events) }
      if hasLost, events.count < Self.mostAtOnce {
        overrunCount.add(1, ordering: .relaxed)
        hasLost = false
        catchUp(listener)
      }
    }
  }

  private static let mostAtOnce = 1024

  /// Tells of all connections as they are now.
  ///
  /// A number is known of connections that the kernel lists, so one that is not listed has gone. If
  /// the kernel does not answer, flows end by their idleness.
  private func catchUp(_ listener: Listener) {
    var (all, events) = (Set<UInt32>(), [ConntrackEvent]())
    do throws(ConntrackError) {
      var socket = try ConntrackSocket()
      try socket.forEachConnection { connection in
        all.insert(connection.id)
        events.append(.changed(connection))
        guard events.count == Self.mostAtOnce else { return }
        listener.take(events)
        events = []
      }
    } catch {
      return
    }
    listener.take(events)
    listener.endOthers(all)
  }

  /// Carries the watcher, which cannot be copied, into the thread's closure.
  private final class WatcherBox: Sendable {
    private let watcher: Mutex<ConntrackWatcher?>
    init(_ watcher: consuming sending ConntrackWatcher) { self.watcher = Mutex(watcher) }
    func take() -> sending ConntrackWatcher? { watcher.withLock { $0.take() } }
  }
}
