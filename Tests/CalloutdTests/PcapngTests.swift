// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import calloutctl

struct PcapngTests {
  /// The little-endian words of a block, as this host writes them.
  private func words(_ block: [UInt8]) -> [UInt32] {
    stride(from: 0, to: block.count - 3, by: 4).map { start in
      block[start..<start + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
  }

  /// The options from a word on, by their codes.
  private func options(_ block: [UInt8], from word: Int) -> [(code: Int, bytes: [UInt8])] {
    var found: [(code: Int, bytes: [UInt8])] = []
    var offset = word * 4
    while true {
      let code = Int(block[offset]) | Int(block[offset + 1]) << 8
      let length = Int(block[offset + 2]) | Int(block[offset + 3]) << 8
      if code == 0 { return found }
      found.append((code, Array(block[offset + 4..<offset + 4 + length])))
      offset += 4 + (length + 3) / 4 * 4
    }
  }

  private func packet(_ comments: [String] = ["one"], bytes: [UInt8] = [1, 2, 3, 4, 5])
    -> Pcapng.Packet
  {
    Pcapng.Packet(
      interface: 2, time: 0x0102_0304_0506_0708, bytes: bytes, originalLength: 1500,
      comments: comments, isInbound: true, packetID: 0x7918_0000_002a, queue: 31000,
      isAccepted: false)
  }

  @Test func `every block is whole words and tells its length at both ends`() {
    let blocks = [
      Pcapng.section(program: "calloutctl"), Pcapng.interface(name: "eth0", snap: 65531),
      Pcapng.packet(packet()), Pcapng.packet(packet([], bytes: [])),
      Pcapng.statistics(interface: 0, time: 1, written: 2, lost: 3),
    ]
    for block in blocks {
      #expect(block.count % 4 == 0)
      #expect(words(block)[1] == UInt32(block.count))
      #expect(words(block).last == UInt32(block.count))
    }
  }

  @Test func `a file begins with the byte order and the version`() {
    let section = words(Pcapng.section(program: "calloutctl"))
    #expect(section[0] == 0x0a0d_0d0a)
    #expect(section[2...5] == [0x1a2b_3c4d, 1, .max, .max])
  }

  @Test func `an interface has a name, raw packets and nanoseconds`() {
    let block = Pcapng.interface(name: "eth0", snap: 96)
    #expect(words(block)[0] == 1)
    #expect(words(block)[2...3] == [101, 96])
    let found = options(block, from: 4)
    #expect(found.map(\.code) == [2, 9])
    #expect(found.map(\.bytes) == [Array("eth0".utf8), [9]])
  }

  @Test func `a packet has its bytes padded and its options behind them`() {
    let block = Pcapng.packet(packet(["one", "two"]))
    #expect(words(block)[0] == 6)
    #expect(words(block)[2...6] == [2, 0x0102_0304, 0x0506_0708, 5, 1500])
    #expect(Array(block[28..<36]) == [1, 2, 3, 4, 5, 0, 0, 0])
    let found = options(block, from: 9)
    #expect(found.map(\.code) == [1, 1, 2, 5, 6, 7])
    #expect(found[0].bytes == Array("one".utf8))
    #expect(found[1].bytes == Array("two".utf8))
    #expect(found[2].bytes == [1, 0, 0, 0])
    #expect(found[3].bytes == [0x2a, 0, 0, 0, 0x18, 0x79, 0, 0])
    #expect(found[4].bytes == [0x18, 0x79, 0, 0])
    #expect(found[5].bytes == [1, 2, 0, 0, 0, 0, 0, 0, 0])
  }

  @Test func `an outbound packet of unknown end has no verdict`() {
    var sent = packet([])
    sent.isInbound = false
    sent.isAccepted = nil
    let found = options(Pcapng.packet(sent), from: 9)
    #expect(found.map(\.code) == [2, 5, 6])
    #expect(found[0].bytes == [2, 0, 0, 0])
  }

  @Test func `a comment that is too long is cut, whole characters only`() throws {
    for pad in 0..<3 {
      let text = String(repeating: "x", count: pad) + String(repeating: "\u{20ac}", count: 30000)
      let found = options(Pcapng.packet(packet([text])), from: 9)
      let comment = try #require(found.first?.bytes)
      #expect(comment.count < 65536)
      #expect(comment.suffix(3) == Array("...".utf8)[...])
    }
  }
}
