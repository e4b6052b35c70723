// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import PacketViews
internal import SocketOwners
internal import Synchronization

/// Finds the processes of flows on a thread of its own: that takes milliseconds.
///
/// All that have gathered meanwhile are looked for in one walk over the processes.
final class ProcessResolver: Sendable {
  private struct Order: Sendable {
    var query: SocketQuery
    var ticket: UInt64
    var flow: UInt64
    var mailbox: Mailbox
  }

  private static let mostOrders = 4096

  private let orders = Mutex<[Order]>([])
  private let wakeUp: WakeUp
  private let isOver = Atomic<Bool>(false)
  private let thread = Mutex<DedicatedThread?>(nil)

  init() throws(SystemError) {
    wakeUp = try WakeUp()
    let diagnostics = Mutex<SocketDiagnostics?>(try SocketDiagnostics())
    let started = try DedicatedThread(name: "callout-process") { [self] in
      guard var diagnostics = diagnostics.withLock({ $0.take() }) else { return }
      run(&diagnostics)
    }
    thread.withLock { $0 = started }
  }

  /// Has the process of a packet's flow looked for, which the worker is told; false if too many wait for
  /// that.
  func find(_ query: SocketQuery, ticket: UInt64, flow: UInt64, for mailbox: Mailbox) -> Bool {
    let isTaken = orders.withLock { orders in
      guard orders.count < Self.mostOrders else { return false }
      orders.append(Order(query: query, ticket: ticket, flow: flow, mailbox: mailbox))
      return true
    }
    if isTaken { wakeUp.signal() }
    return isTaken
  }

  /// Ends the thread and waits for that.
  func end() {
    isOver.store(true, ordering: .releasing)
    wakeUp.signal()
    thread.withLock { $0.take() }?.join()
  }

  private func run(_ diagnostics: inout SocketDiagnostics) {
    // The first question about a protocol may have the kernel load a module: not while a packet waits.
    let nobody = IPAddress(v4: 0)
    for each in [IPProtocol.tcp, .udp] {
      _ = try? diagnostics.inode(of: SocketQuery(each, local: nobody, 0, remote: nobody, 0))
    }
    var poller = Poller(wakeUp.number)
    while true {
      poller.wait(milliseconds: -1)
      if isOver.load(ordering: .acquiring) { return }
      wakeUp.clear()
      let news = orders.withLock { orders in
        defer { orders = [] }
        return orders
      }
      var sockets: [UInt32?] = []
      for order in news { sockets.append((try? diagnostics.inode(of: order.query)) ?? nil) }
      let owners = SocketOwner.find(Set(sockets.compactMap(\.self)))
      for (order, socket) in zip(news, sockets) {
        let owner = socket.flatMap { owners[$0] }
        let process = owner.map { FlowProcess(id: $0.process, path: $0.path) }
        order.mailbox.post { $0.resume(order.ticket, ofFlow: order.flow, process) }
      }
    }
  }
}
