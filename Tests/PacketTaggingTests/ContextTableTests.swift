// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct ContextEntryTests {
  @Test func `an entry is one cache line`() {
    #expect(MemoryLayout<ContextEntry>.stride == 64)
  }

  @Test func `the flags of an entry do not touch each other`() {
    var entry = ContextEntry()
    entry.isLive = true
    entry.isKept = true
    entry.isWatched = true
    entry.isKept = false
    #expect(entry.isLive && entry.isWatched && !entry.isKept)
  }
}
