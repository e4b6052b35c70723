// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CalloutBridge

struct FramePaceTests {
  /// Looks every `step` nanoseconds for `looks` times; how often the next look had better wait.
  private func waits(
    of pace: inout FramePace, from start: UInt64, step: UInt64, looks: Int, found: Int
  ) -> Int {
    (1...looks).count { pace.note(found, at: start + UInt64($0) * step) }
  }

  @Test func `frames below the rate never wait`() {
    var pace = FramePace()
    #expect(waits(of: &pace, from: 5_000_000, step: 20_000, looks: 1000, found: 1) == 0)
  }

  @Test func `frames above the rate gather from the second window on`() {
    var pace = FramePace()
    let count = waits(of: &pace, from: 5_000_000, step: 5_000, looks: 1000, found: 1)
    #expect(count >= 1000 - 2 * Int(FramePace.window / 5_000))
    #expect(count < 1000)
  }

  @Test func `nothing waits after a lull, or without a frame`() {
    var pace = FramePace()
    _ = waits(of: &pace, from: 5_000_000, step: 5_000, looks: 1000, found: 1)
    let isEmptyLookFollowed = pace.note(0, at: 10_005_000)
    #expect(!isEmptyLookFollowed)
    let isFirstFrameFollowed = pace.note(1, at: 2_000_000_000)
    #expect(!isFirstFrameFollowed)
  }
}
