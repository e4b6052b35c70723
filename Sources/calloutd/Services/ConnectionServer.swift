// SPDX-License-Identifier: Apache-2.0

internal import FlyingSocks
internal import Foundation
internal import Kernel
internal import ServiceLifecycle
internal import Synchronization

/// Accepts connections on a listening socket until the shutdown, so many at once.
struct ConnectionServer: Sendable {
  /// Connections over this number are told so.
  let maximumConnections: Int
  /// How long connections may go on after the shutdown.
  let farewell: Duration
  /// Serves one connection to its end; `isFull` says that there are too many.
  let serve: @Sendable (_ connection: AsyncSocket, _ isFull: Bool) async -> Void

  /// Serves connections of `listener`, which must not block.
  func run(on listener: Socket) async throws {
    let pool: some AsyncSocketPool = .make()
    try await pool.prepare()
    let socket = try AsyncSocket(socket: listener, pool: pool)
    let open = ConnectionCount()
    // The first task to end ends the others: by the shutdown, or because the pool broke.
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await pool.run() }
      group.addTask { await acceptAll(from: socket, open) }
      group.addTask {
        try? await gracefulShutdown()
        let end = ContinuousClock.now + farewell
        while open.now > 0, ContinuousClock.now < end, !Task.isCancelled {
          try await Task.sleep(for: .milliseconds(20))
        }
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func acceptAll(from socket: AsyncSocket, _ open: ConnectionCount) async {
    await withDiscardingTaskGroup { connections in
      while !Task.isCancelled {
        guard let connection = await accept(from: socket) else { continue }
        let isFull = open.add(1) > maximumConnections
        connections.addTask {
          await serve(connection, isFull)
          _ = open.add(-1)
          try? connection.close()
        }
      }
    }
  }

  private func accept(from socket: AsyncSocket) async -> AsyncSocket? {
    do {
      let connection = try await socket.accept()
      UnixSocket.closeOnExec(connection.socket.file.rawValue)
      return connection
    } catch {
      // Out of descriptors, most likely: try again when some may be free.
      try? await Task.sleep(for: .milliseconds(100))
      return nil
    }
  }
}

/// How many connections are open.
private final class ConnectionCount: Sendable {
  private let count = Atomic<Int>(0)
  var now: Int { count.load(ordering: .relaxed) }
  func add(_ amount: Int) -> Int { count.add(amount, ordering: .relaxed).newValue }
}
