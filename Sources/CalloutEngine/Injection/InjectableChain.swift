// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Frames that are to be injected by one call, in their order.
///
/// Mirrors a chain of `NET_BUFFER_LIST`.
public struct InjectableChain: ~Copyable, Sendable {
  /// Holds a frame until somebody takes it, where what cannot be copied cannot be held.
  package final class Place: Sendable {
    private let frame: Mutex<InjectableFrame?>

    fileprivate init(_ frame: consuming InjectableFrame) { self.frame = Mutex(frame) }

    /// The frame, which is the caller's now.
    package func take() -> InjectableFrame? { frame.withLock { $0.take() } }

    /// Looks at the frame, if it is still there.
    package func look<Result>(_ body: (borrowing InjectableFrame) -> Result) -> Result? {
      frame.withLock { stored in
        guard let frame = stored.take() else { return nil }
        let result = body(frame)
        stored = consume frame
        return result
      }
    }
  }

  private var places: [Place] = []
  private var next = 0

  /// A chain of no frames.
  public init() {}

  /// How many frames there are.
  public var count: Int { places.count - next }

  /// Adds a frame at the end.
  public mutating func append(_ frame: consuming InjectableFrame) { places.append(Place(frame)) }

  /// Takes the first frame out, nil if there is none.
  public mutating func popFirst() -> InjectableFrame? {
    guard next < places.count else { return nil }
    defer { next += 1 }
    return places[next].take()
  }

  /// The places of the frames that are left.
  package var remaining: [Place] { Array(places[next...]) }
}

/// What came of the call that injects a chain; how the injection ended is told later.
public enum ChainOutcome: ~Copyable, Sendable {
  /// It has begun, and each frame's completion will come.
  case started
  /// It was refused: no completion comes, and all frames are the caller's again.
  case refused(InjectionError, InjectableChain)
}
