// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Who may change the engine's objects: one at a time, the others in order, but not for ever.
final class TransactionLock: Sendable {
  private struct Line {
    var isTaken = false
    var waiting: [(number: UInt64, continuation: CheckedContinuation<Bool, Never>)] = []
    var lastNumber: UInt64 = 0
  }

  private let line = Mutex(Line())

  /// Takes the lock; false if it has not come free within `patience` (nil: for ever).
  func take(within patience: Duration?) async -> Bool {
    await withCheckedContinuation { continuation in
      let number = line.withLock { line -> UInt64? in
        guard line.isTaken else {
          line.isTaken = true
          return nil
        }
        line.lastNumber += 1
        line.waiting.append((line.lastNumber, continuation))
        return line.lastNumber
      }
      guard let number else { return continuation.resume(returning: true) }
      guard let patience else { return }
      Task {
        try? await Task.sleep(for: patience)
        giveUp(number)
      }
    }
  }

  /// Hands the lock to the next in line.
  func release() {
    let next = line.withLock { line -> CheckedContinuation<Bool, Never>? in
      guard !line.waiting.isEmpty else {
        line.isTaken = false
        return nil
      }
      return line.waiting.removeFirst().continuation
    }
    next?.resume(returning: true)
  }

  private func giveUp(_ number: UInt64) {
    let late = line.withLock { line -> CheckedContinuation<Bool, Never>? in
      guard let place = line.waiting.firstIndex(where: { $0.number == number }) else { return nil }
      return line.waiting.remove(at: place).continuation
    }
    late?.resume(returning: false)
  }
}
