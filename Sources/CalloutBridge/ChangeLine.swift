// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// One change of a bridge at a time: start, apply and stop wait for each other, in order.
final class ChangeLine: Sendable {
  private struct Line {
    var isTaken = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let line = Mutex(Line())

  /// Runs `change` when those before it have ended, to its end also in a task that is cancelled.
  func run<Success: Sendable, Failure: Error>(
    _ change: @escaping @Sendable () async throws(Failure) -> Success
  ) async throws(Failure) -> Success {
    await enter()
    defer { leave() }
    // A task of its own: cancellation would kill iptables half way and cut every wait short.
    let task = Task { () async -> Result<Success, Failure> in
      do throws(Failure) {
        return .success(try await change())
      } catch {
        return .failure(error)
      }
    }
    return try await task.value.get()
  }

  private func enter() async {
    await withCheckedContinuation { continuation in
      let isFirst = line.withLock { line in
        if line.isTaken { line.waiting.append(continuation) }
        defer { line.isTaken = true }
        return !line.isTaken
      }
      if isFirst { continuation.resume() }
    }
  }

  private func leave() {
    let next = line.withLock { line in
      if line.waiting.isEmpty {
        line.isTaken = false
        return nil as CheckedContinuation<Void, Never>?
      }
      return line.waiting.removeFirst()
    }
    next?.resume()
  }
}
