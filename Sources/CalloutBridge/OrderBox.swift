// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import Synchronization

/// What workers leave for a thread of its own, whose work takes too long for theirs.
final class OrderBox<Order: Sendable>: Sendable {
  /// More than this are refused: the thread does not keep up.
  private static var mostOrders: Int { 4096 }

  private let orders = Mutex<[Order]>([])
  private let wakeUp: WakeUp
  private let isOver = Atomic<Bool>(false)
  private let thread = Mutex<DedicatedThread?>(nil)

  init() throws(SystemError) { wakeUp = try WakeUp() }

  /// Begins the thread.
  func start(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) {
    let started = try DedicatedThread(name: name, body: body)
    thread.withLock { $0 = started }
  }

  /// Leaves an order; false if too many wait.
  func put(_ order: Order) -> Bool {
    let isTaken = orders.withLock { orders in
      guard orders.count < Self.mostOrders else { return false }
      orders.append(order)
      return true
    }
    if isTaken { wakeUp.signal() }
    return isTaken
  }

  /// A poller for `take`, which the thread keeps.
  func makePoller() -> Poller { Poller(wakeUp.number) }

  /// Waits for orders, so long at most, and takes them; nil when the thread is to end.
  func take(_ poller: inout Poller, milliseconds: Int32 = -1) -> [Order]? {
    poller.wait(milliseconds: milliseconds)
    if isOver.load(ordering: .acquiring) { return nil }
    wakeUp.clear()
    return orders.withLock { orders in
      defer { orders = [] }
      return orders
    }
  }

  /// Ends the thread and waits for that.
  func end() {
    isOver.store(true, ordering: .releasing)
    wakeUp.signal()
    thread.withLock { $0.take() }?.join()
  }
}
