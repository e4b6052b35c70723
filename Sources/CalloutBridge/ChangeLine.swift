// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// One change of a bridge at a time: start, apply and stop wait for each other, in order.
final class ChangeLine: Sendable {
  private struct Line {
    var isTaken = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let line = Mutex(Line())

  /// Runs `change` when those before it have ended.
  func run<Result, Failure: Error>(
    _ change: () async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    await enter()
    defer { leave() }
    return try await change()
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
