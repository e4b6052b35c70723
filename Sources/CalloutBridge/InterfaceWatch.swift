// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import LinkLayer
internal import Synchronization

/// Tells when devices have come, gone or changed, from a thread of its own.
final class InterfaceWatch: Sendable {
  private let wakeUp: WakeUp
  private let isOver = Atomic<Bool>(false)
  /// The devices that have gone since the last look; nil if no look is due.
  private let news = Mutex<Set<UInt32>?>(nil)
  private let thread = Mutex<DedicatedThread?>(nil)

  /// Begins to watch the devices of the calling thread's network namespace.
  ///
  /// `act` is called when there is news that has not been taken; what happens until `takeNews` is
  /// part of that news.
  init(_ act: @escaping @Sendable (InterfaceWatch) -> Void) throws(LinkError) {
    let box = WatcherBox(try LinkWatcher())
    do throws(SystemError) {
      wakeUp = try WakeUp()
    } catch {
      throw .system(error)
    }
    do throws(SystemError) {
      let started = try DedicatedThread(name: "callout-links") { [self] in
        guard var watcher = box.take() else { return }
        run(&watcher, act)
      }
      thread.withLock { $0 = started }
    } catch {
      throw .system(error)
    }
  }

  /// The devices that have gone since the last call; what changes from now on is new.
  func takeNews() -> Set<UInt32> {
    news.withLock { news in
      defer { news = nil }
      return news ?? []
    }
  }

  /// Ends the thread and waits for that.
  func end() {
    isOver.store(true, ordering: .releasing)
    wakeUp.signal()
    thread.withLock { $0.take() }?.join()
  }

  private func run(_ watcher: inout LinkWatcher, _ act: (InterfaceWatch) -> Void) {
    var poller = Poller(watcher.pollDescriptor, wakeUp.number)
    while true {
      poller.wait(milliseconds: -1)
      if isOver.load(ordering: .acquiring) { return }
      do throws(LinkError) {
        while let event = try watcher.next() { note(event, act) }
      } catch {
        // Of a socket that has failed there is no more to come.
        return
      }
    }
  }

  private func note(_ event: LinkEvent, _ act: (InterfaceWatch) -> Void) {
    // A helper of ours that comes up is no news; one that goes or is set down may be.
    if case .changed(let device) = event, device.isUp, HelperDevices.isName(device.name) { return }
    let isFirst = news.withLock { news in
      let isFirst = news == nil
      if case .removed(let device) = event {
        news = (news ?? []).union([device.index])
      } else {
        news = news ?? []
      }
      return isFirst
    }
    if isFirst { act(self) }
  }

  /// Carries the watcher, which cannot be copied, into the thread's closure.
  private final class WatcherBox: Sendable {
    private let watcher: Mutex<LinkWatcher?>
    init(_ watcher: consuming sending LinkWatcher) { self.watcher = Mutex(watcher) }
    func take() -> sending LinkWatcher? { watcher.withLock { $0.take() } }
  }
}
