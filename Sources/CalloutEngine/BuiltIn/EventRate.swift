// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// How often something may happen: so many times in a period, at most so many at once.
public struct EventRate: Sendable, Hashable {
  /// Times in a period.
  public var count: UInt32
  /// The period.
  public var period: Duration

  /// A rate; a count of 0 never lets anything happen.
  public init(_ count: UInt32, per period: Duration) {
    self.count = count
    self.period = period
  }
}

/// Keeps a rate for several threads together, without locks.
///
/// The cell holds the time at which the bucket would be full again: one load refuses, one exchange
/// admits.
final class RateGate: Sendable {
  private let fullAt = Atomic<UInt64>(0)
  private let interval: UInt64
  private let room: UInt64

  init(_ rate: EventRate) {
    let period = Classification.nanoseconds(rate.period)
    interval = rate.count == 0 ? 0 : max(1, period / UInt64(rate.count))
    room = rate.count == 0 ? 0 : interval &* UInt64(rate.count - 1)
  }

  /// Whether it may happen at `now`, in nanoseconds.
  func admits(at now: UInt64) -> Bool {
    guard interval > 0 else { return false }
    let full = fullAt.load(ordering: .relaxed)
    guard full <= now &+ room else { return false }
    let next = max(full, now) &+ interval
    // Losing the race means that another thread has just taken the place.
    return fullAt.compareExchange(expected: full, desired: next, ordering: .relaxed).exchanged
  }
}
