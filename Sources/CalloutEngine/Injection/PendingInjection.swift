// SPDX-License-Identifier: Apache-2.0

/// Some frames of one injection whose end is known, one after the other.
public struct InjectionSegment: Sendable, Hashable {
  /// The first of them among the frames that were given.
  public var first: Int
  /// How many they are.
  public var count: Int
  /// How it ended for each of them.
  public var status: InjectionStatus
}

/// Learns how an injection ended, once for each segment; all frames are told of, each once.
///
/// Any thread. Mirrors `FWPS_INJECT_COMPLETE0`.
public typealias InjectionCompletion = @Sendable (InjectionSegment) -> Void

/// An injection that has begun, until all of its frames are completed.
///
/// While there is one, its handle's `destroy()` waits; dropping it completes the rest as cancelled, so
/// that nothing waits for ever.
package struct PendingInjection: ~Copyable, Sendable {
  /// The frames that were given.
  package let count: Int
  /// Those that have been completed.
  package private(set) var completed = 0
  private let handle: InjectionHandle
  private let completion: InjectionCompletion?

  /// Begins an injection of `count` frames with `handle`.
  ///
  /// - Throws: `completionRequired` if `needsCompletion` and there is none, or what the handle says.
  package static func begin(
    _ count: Int, with handle: InjectionHandle, needsCompletion: Bool,
    _ completion: InjectionCompletion?
  ) throws(InjectionError) -> PendingInjection {
    guard completion != nil || !needsCompletion else { throw .completionRequired }
    try handle.begin(count)
    return PendingInjection(count: max(0, count), handle: handle, completion: completion)
  }

  private init(count: Int, handle: InjectionHandle, completion: InjectionCompletion?) {
    self.count = count
    self.handle = handle
    self.completion = completion
  }

  /// Whether all frames are completed.
  package var isComplete: Bool { completed >= count }

  /// Completes the next `frames`, of which no more are taken than there are.
  package mutating func complete(_ frames: Int, _ status: InjectionStatus) {
    let segment = min(max(0, frames), count - completed)
    guard segment > 0 else { return }
    completion?(InjectionSegment(first: completed, count: segment, status: status))
    completed += segment
    handle.complete(segment)
  }

  /// Takes the injection back, so that nothing is completed: for what never set out.
  package consuming func revoke() {
    handle.complete(count - completed)
    completed = count
  }

  deinit {
    guard completed < count else { return }
    let rest = count - completed
    completion?(InjectionSegment(first: completed, count: rest, status: .cancelled))
    handle.complete(rest)
  }
}
