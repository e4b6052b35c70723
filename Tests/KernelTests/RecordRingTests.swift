// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Kernel

struct RecordRingTests {
  private struct Header: BitwiseCopyable, Equatable {
    var time: UInt64
    var number: UInt32
  }

  private func push(_ ring: RecordRing<Header>, _ number: UInt32, length: Int) -> Bool {
    let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: length)
    return ring.push(Header(time: 7, number: number), bytes.span.bytes)
  }

  @Test func `records of all lengths come out as they went in, round after round`() {
    let ring = RecordRing<Header>(capacity: 4096)
    for number in 0..<5000 as Range<UInt32> {
      let length = Int(number) * 37 % 1500
      let isIn = push(ring, number, length: length)
      #expect(isIn)
      let record = ring.pop()
      #expect(record?.header == Header(time: 7, number: number))
      #expect(record?.bytes == [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: length))
    }
    #expect(ring.pop() == nil)
  }

  @Test func `a full ring refuses and keeps what it has`() {
    let ring = RecordRing<Header>(capacity: 4096)
    var count: UInt32 = 0
    while push(ring, count, length: 100) { count += 1 }
    #expect(count == 4096 / 144)
    for number in 0..<count { #expect(ring.pop()?.header.number == number) }
    #expect(ring.pop() == nil)
    let fits = push(ring, 0, length: 100)
    #expect(fits)
  }

  @Test func `a record larger than the ring is refused`() {
    let ring = RecordRing<Header>(capacity: 4096)
    let fits = push(ring, 0, length: 4096)
    #expect(!fits)
  }

  @Test func `one thread writes while another reads`() throws {
    let ring = RecordRing<Header>(capacity: 1 << 14)
    let total: UInt32 = 100_000
    let writer = try DedicatedThread(name: "writer") {
      for number in 0..<total {
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: Int(number % 300))
        while !ring.push(Header(time: 7, number: number), bytes.span.bytes) {}
      }
    }
    var next: UInt32 = 0
    var isRight = true
    while next < total {
      guard let record = ring.pop() else { continue }
      isRight =
        isRight && record.header.number == next && record.bytes.count == Int(next % 300)
        && record.bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: next) }
      next += 1
    }
    writer.join()
    #expect(isRight)
  }
}
