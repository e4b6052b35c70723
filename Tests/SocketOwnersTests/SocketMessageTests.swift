// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

@testable import SocketOwners

@Suite struct SocketMessageTests {
  /// An answer about a socket bound to port 80, with the inode number 0x01020304.
  static let answer: [UInt8] =
    [88, 0, 0, 0, 20, 0, 0, 0, 7, 0, 0, 0, 1, 2, 3, 4, 2, 10, 0, 0, 0, 80, 0, 0]
    + [UInt8](repeating: 0, count: 60) + [4, 3, 2, 1]

  private func read(_ bytes: [UInt8]) -> (sequence: UInt32, port: UInt16?, inode: UInt32) {
    let message = SocketMessage(bytes.span.packetBytes)
    return (message.sequence, message.localPort, message.inode)
  }

  @Test func `an answer tells the port and the inode number`() {
    let found = read(Self.answer)
    #expect(found.sequence == 7 && found.port == 80 && found.inode == 0x0102_0304)
  }

  @Test func `what is cut off at any length is a refusal, and an error is one`() {
    for length in 0..<Self.answer.count {
      let found = read(Array(Self.answer.prefix(length)))
      #expect(found.port == nil && found.inode == 0, "\(length)")
    }
    var refusal = Self.answer
    refusal[4] = 2  // NLMSG_ERROR
    #expect(read(refusal).port == nil && read(refusal).sequence == 7)
  }

  @Test func `a request names the ends in the order that the protocol wants`() {
    let query = SocketQuery(
      .udp, local: IPAddress(10, 0, 0, 1), 4000, remote: IPAddress(10, 0, 0, 2), 53, device: 3)
    let plain = SocketMessage.request(for: query, isReversed: false, 9)
    let reversed = SocketMessage.request(for: query, isReversed: true, 9)
    #expect(plain.count == 72 && plain[0] == 72 && plain[4] == 20 && plain[8] == 9)
    #expect(Array(plain[16..<18]) == [2, 17] && plain[20..<24].allSatisfy { $0 == 255 })
    #expect(Array(plain[24..<28]) == [0x0f, 0xa0, 0, 53])
    #expect(Array(plain[28..<32]) == [10, 0, 0, 1] && Array(plain[44..<48]) == [10, 0, 0, 2])
    #expect(Array(reversed[24..<28]) == [0, 53, 0x0f, 0xa0])
    #expect(Array(reversed[28..<32]) == [10, 0, 0, 2])
    #expect(Array(reversed[44..<48]) == [10, 0, 0, 1])
    #expect(Array(plain[60..<64]) == [3, 0, 0, 0])
  }
}
