// SPDX-License-Identifier: Apache-2.0

import Kernel
import Testing

@Suite struct FixedArrayTests {
  // The largest is backed by huge pages where the machine has them.
  @Test(arguments: [0, 1, 100, 1 << 20])
  func `holds what it has room for, and no more`(capacity: Int) {
    var array = FixedArray<UInt64>(capacity: capacity)
    for number in 0..<UInt64(capacity) {
      let taken = array.append(number)
      if !taken { Issue.record("\(number) was refused") }
    }
    let refused = !array.append(1)
    #expect(refused)
    let count = array.count
    #expect(count == capacity)
    for index in 0..<capacity { array[index] &+= 1 }
    var sum: UInt64 = 0
    for index in 0..<capacity {
      array.prefetch(index + 4)
      sum &+= array[index]
    }
    #expect(sum == UInt64(capacity) * UInt64(capacity + 1) / 2)
  }

  @Test func `is filled with equal elements`() {
    let array = FixedArray<UInt8>(repeating: 7, count: 3)
    let all = (0..<array.count).map { array[$0] }
    #expect(all == [7, 7, 7])
  }

  @Test func `an index outside ends the program`() async {
    await #expect(processExitsWith: .failure) {
      let array = FixedArray<UInt8>(repeating: 7, count: 3)
      _ = array[3]
    }
  }
}
