// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct IndexRingTests {
  /// The ring against an array, through many widenings, wraps and moments of emptiness.
  @Test(arguments: [1, 2, 3, 7, 4095, 4096, 4097, 9000, 20_000])
  func keepsOrderHoweverItGrows(capacity: Int) {
    var ring = IndexRing(capacity: capacity)
    var model: [UInt32] = []
    var removed = 0
    var random = SystemRandomNumberGenerator()
    for step in 0..<60_000 {
      let fills = step / 10_000 % 2 == 0
      if UInt.random(in: 0..<4, using: &random) < (fills ? 3 : 1) {
        if model.count - removed < capacity { model.append(UInt32(step)) }
        ring.append(UInt32(step), at: 0)
      } else if removed < model.count {
        let (first, tenth) = (ring.first?.slot, ring.peek(9)?.slot)
        #expect(first == model[removed])
        #expect(tenth == (removed + 9 < model.count ? model[removed + 9] : nil))
        ring.removeFirst()
        removed += 1
      }
      #expect(ring.count == model.count - removed)
    }
    while removed < model.count {
      #expect(ring.first?.slot == model[removed])
      ring.removeFirst()
      removed += 1
    }
    #expect(ring.first?.slot == nil)
  }

  @Test func touchedMemoryFollowsTheLoad() {
    var ring = IndexRing(capacity: 1 << 20)
    for slot in 0..<UInt32(100_000) {
      ring.append(slot, at: 0)
      if slot >= 100 { ring.removeFirst() }
    }
    #expect(ring.count == 100)
    #expect(ring.elements.count <= 4096)
  }
}
