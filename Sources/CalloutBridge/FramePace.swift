// SPDX-License-Identifier: Apache-2.0

/// Whether frames come so fast that a worker had better let some of them gather.
///
/// A worker that is faster than its frames finds one or two at each look, and spends more on looking
/// than on them. So under load it looks at most once in `interval`, as network cards moderate their
/// interrupts; the ring holds far more than comes meanwhile. Below `frames` in a `window`, nothing
/// ever waits.
struct FramePace {
  /// How long frames gather, in nanoseconds; the kernel's timer slack comes on top.
  static let interval: UInt64 = 50_000
  /// Over what time the rate is measured, in nanoseconds.
  static let window: UInt64 = 1_000_000
  /// From how many frames in a window on they gather.
  static let frames = 100

  private var isFast = false
  private var count = 0
  private var windowStart: UInt64 = 0

  /// Takes note of a look at `now` that found some frames; true if the next had better wait.
  mutating func note(_ found: Int, at now: UInt64) -> Bool {
    count &+= found
    let elapsed = now &- windowStart
    if elapsed >= Self.window {
      isFast = UInt64(count) &* Self.window >= UInt64(Self.frames) &* elapsed
      count = 0
      windowStart = now
    }
    return isFast && found > 0
  }
}
