// SPDX-License-Identifier: Apache-2.0

/// Frames that wait for their time, the next first, in bounded memory.
///
/// Those that are due at the same time go in the order in which they came.
struct HeldFrames<Frame: Sendable>: Sendable {
  private struct Place: Sendable {
    var frame: Frame?
    var length: Int
    var due: UInt64
  }

  private let mostFrames: Int
  private let mostBytes: Int
  /// Those before `head` have gone.
  private var places: [Place] = []
  private var head = 0
  /// The bytes of all that wait.
  private(set) var bytes = 0

  /// Room for so much.
  init(frames: Int = 8192, bytes: Int = 64 << 20) {
    mostFrames = frames
    mostBytes = bytes
  }

  /// How many wait.
  var count: Int { places.count - head }

  /// When the next one is due, nil if none waits.
  var nextDue: UInt64? { head < places.count ? places[head].due : nil }

  /// Adds a frame of so many bytes; false if there is no room for it.
  mutating func add(_ frame: Frame, length: Int, due: UInt64) -> Bool {
    guard count < mostFrames, bytes + length <= mostBytes else { return false }
    bytes += length
    let earlier = places[head...].lastIndex { $0.due <= due }
    places.insert(
      Place(frame: frame, length: length, due: due), at: earlier.map { $0 + 1 } ?? head)
    return true
  }

  /// Takes the next frame if it is due; whatever its time if `always`.
  mutating func popFirst(at now: UInt64, always: Bool = false) -> Frame? {
    guard let due = nextDue, always || due <= now else { return nil }
    let frame = places[head].frame
    places[head].frame = nil
    bytes -= places[head].length
    head += 1
    // Seldom, so that taking a frame does not move all others.
    if head * 2 > places.count {
      places.removeFirst(head)
      head = 0
    }
    return frame
  }
}
