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

  private let orders: OrderBox<Order>

  init() throws(SystemError) {
    orders = try OrderBox()
    let diagnostics = Mutex<SocketDiagnostics?>(try SocketDiagnostics())
    try orders.start("callout-process") { [self] in
      guard var diagnostics = diagnostics.withLock({ $0.take() }) else { return }
      run(&diagnostics)
    }
  }

  /// Has the process of a packet's flow looked for, which the worker is told; false if too many wait for
  /// that.
  func find(_ query: SocketQuery, ticket: UInt64, flow: UInt64, for mailbox: Mailbox) -> Bool {
    orders.put(Order(query: query, ticket: ticket, flow: flow, mailbox: mailbox))
  }

  /// Ends the thread and waits for that.
  func end() { orders.end() }

  private func run(_ diagnostics: inout SocketDiagnostics) {
    // The first question about a protocol may have the kernel load a module: not while a packet waits.
    let nobody = IPAddress(v4: 0)
    for each in [IPProtocol.tcp, .udp] {
      _ = try? diagnostics.inode(of: SocketQuery(each, local: nobody, 0, remote: nobody, 0))
    }
    var poller = orders.makePoller()
    while let news = orders.take(&poller) {
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
