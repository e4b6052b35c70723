// SPDX-License-Identifier: Apache-2.0

import Testing

import Kernel
@testable import FirewallRules

@Suite struct QueueStatusTests {
  @Test func `every column of a queue is read`() throws {
    let text = """
          7   7619     3 2   200     4     5        9  1
      31000 4294967295 8192 2 65531 4294967295 0 4294967295  1

      """
    let queues = try QueueScan.parse(text)
    #expect(
      queues == [
        QueueStatus(
          number: 7, portID: 7619, waiting: 3, copyMode: 2, copyRange: 200, queueDropped: 4,
          userDropped: 5, lastID: 9),
        QueueStatus(
          number: 31000, portID: .max, waiting: 8192, copyMode: 2, copyRange: 65531,
          queueDropped: .max, userDropped: 0, lastID: .max),
      ])
  }

  @Test func `no text means no queues`() throws {
    #expect(try QueueScan.parse("").isEmpty)
    #expect(try QueueScan.parse("\n \n").isEmpty)
  }

  @Test func `columns that a later kernel appends are left alone`() throws {
    #expect(try QueueScan.parse("1 2 3 2 5 6 7 8 1 99 new").first?.lastID == 8)
  }

  @Test(arguments: [
    "7", "7 7619 3 2 200 0 0", "65536 1 0 2 200 0 0 0 1", "7 -1 0 2 200 0 0 0 1",
    "7 1 4294967296 2 200 0 0 0 1", "7 1 0 256 200 0 0 0 1", "a b c d e f g h i",
    "7,1,0,2,200,0,0,0,1",
  ])
  func `a malformed line is a typed error`(line: String) {
    #expect(throws: RuleError.self) { try QueueScan.parse(line) }
  }

  @Test func `a port that no process can have has no owner`() {
    #expect(owner(0) == nil)
    #expect(owner(.max) == nil)
    #expect(owner(1) != nil)
  }

  private func owner(_ portID: UInt32) -> String? {
    QueueStatus(line: "1 \(portID) 0 2 128 0 0 0 1")?.ownerName
  }
}
