// SPDX-License-Identifier: Apache-2.0

internal import FlyingSocks
internal import Foundation

/// Sends one client lines as they come.
struct LineStream: Sendable {
  let socket: AsyncSocket

  /// Sends what `fill` appends until that returns or the client goes.
  func run(_ fill: @escaping @Sendable (EventBuffer) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        // A client that only listens never writes: what ends this is its end.
        while true { _ = try await socket.read(atMost: 4096) }
      }
      group.addTask { try await forward(fill) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func forward(
    _ fill: @escaping @Sendable (EventBuffer) async throws -> Void
  ) async throws {
    let buffer = EventBuffer()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { buffer.finish() }
        try await fill(buffer)
      }
      group.addTask {
        for await _ in buffer.signals {
          let bytes = buffer.take()
          if !bytes.isEmpty { try await socket.write(Data(bytes)) }
        }
        let rest = buffer.take()
        if !rest.isEmpty { try await socket.write(Data(rest)) }
      }
      try await group.waitForAll()
    }
  }
}
