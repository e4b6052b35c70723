// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CalloutBridge

@Suite struct HeldFramesTests {
  private func order(_ held: inout HeldFrames<Int>, at now: UInt64) -> [Int] {
    var order: [Int] = []
    while let frame = held.popFirst(at: now) { order.append(frame) }
    return order
  }

  @Test func `frames go when they are due, and as they came`() {
    var held = HeldFrames<Int>()
    for (frame, due) in [(1, 10), (2, 30), (3, 10), (4, 20), (5, 10)] as [(Int, UInt64)] {
      let isHeld = held.add(frame, length: 60, due: due)
      #expect(isHeld)
    }
    #expect(held.nextDue == 10 && held.count == 5 && held.bytes == 300)
    #expect(order(&held, at: 9) == [])
    #expect(order(&held, at: 10) == [1, 3, 5])
    #expect(order(&held, at: 30) == [4, 2])
    #expect(held.nextDue == nil && held.count == 0 && held.bytes == 0)
  }

  @Test func `neither more frames nor more bytes than there is room for`() {
    var held = HeldFrames<Int>(frames: 3, bytes: 100)
    let first = [held.add(1, length: 60, due: 1), held.add(2, length: 41, due: 1)]
    #expect(first == [true, false])
    let second = (0..<3).map { held.add($0, length: 1, due: 1) }
    #expect(second == [true, true, false])
    _ = held.popFirst(at: 1)
    let isHeld = held.add(9, length: 98, due: 1)
    #expect(isHeld && held.bytes == 100)
  }

  @Test func `at the end all go, whatever their time`() {
    var held = HeldFrames<Int>()
    for frame in 0..<100 {
      let isHeld = held.add(frame, length: 1, due: UInt64(1000 + frame % 7))
      #expect(isHeld)
    }
    var order: [Int] = []
    while let frame = held.popFirst(at: 0, always: true) { order.append(frame) }
    #expect(order == (0..<100).sorted { ($0 % 7, $0) < ($1 % 7, $1) })
  }

  @Test func `it is a model's like through many comings and goings`() {
    var held = HeldFrames<Int>(frames: 64)
    var model: [(frame: Int, due: UInt64)] = []
    for step in 0..<20_000 {
      let now = UInt64(step)
      let due = now + [3, 3, 3, 50, 1][step * 7 % 5]
      let isHeld = held.add(step, length: 1, due: due)
      #expect(isHeld == (model.count < 64))
      if isHeld { model.append((step, due)) }
      guard step % 3 == 0 else { continue }
      let expected = model.filter { $0.due <= now }
        .sorted { ($0.due, $0.frame) < ($1.due, $1.frame) }.map(\.frame)
      model.removeAll { $0.due <= now }
      #expect(order(&held, at: now) == expected)
    }
  }
}
