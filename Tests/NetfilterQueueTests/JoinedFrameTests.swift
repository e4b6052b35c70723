// SPDX-License-Identifier: Apache-2.0

import Glibc
import PacketViews
import Testing

@testable import NetfilterQueue

@Suite struct JoinedFrameTests {
  static let link: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]
  static let tag = attribute(
    19 | 0x8000, attribute(1, big(UInt16(0x88a8))) + attribute(2, big(UInt16(0xa064))))

  /// The frame that is put together of a message with these attributes; nil if none can be.
  func join(_ attributes: [[UInt8]]) throws -> [UInt8]? {
    let header = attribute(1, big(UInt32(9)) + big(UInt16(0x0800)) + [0])
    let datagram = message(0x0300, [7, 0] + big(UInt16(31000)) + header + attributes.joined())
    var ends: [CInt] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0, &ends) == 0)
    defer { for end in ends { close(end) } }
    try #require(send(ends[1], datagram, datagram.count, 0) == datagram.count)
    var buffer = ReceiveBuffer(slots: 2, slotBytes: 512)
    try #require(buffer.fill(from: ends[0]) == 1)
    var indication = Indication()
    var offset = 0
    let kind = QueueMessage.next(in: buffer.datagram(0), at: &offset, into: &indication)
    guard case .packet? = kind else { return nil }
    #expect(indication.isBridged)
    guard let place = buffer.joinFrame(0, indication) else { return nil }
    let bytes = buffer.datagram(0)
    return (0..<place.length).map {
      bytes.unsafeLoad(fromByteOffset: place.offset + $0, as: UInt8.self)
    }
  }

  @Test(arguments: [0, 1, 41]) func `link header and payload are one frame`(length: Int) throws {
    let payload = (0..<length).map { UInt8($0) }
    // As the kernel sends them, and with nothing but the header before the payload.
    for between in [[], [attribute(21, big(UInt32(6)))]] {
      let all = [attribute(20, Self.link)] + between + [attribute(10, payload)]
      #expect(try join(all) == Self.link + payload)
      #expect(
        try join([Self.tag] + all)
          == Self.link.prefix(12) + [0x88, 0xa8, 0xa0, 0x64, 8, 0] + payload)
    }
  }

  @Test func `the header of a frame that its sender tagged is cut to fourteen bytes`() throws {
    let inBytes = Self.link.prefix(12) + [0x81, 0, 0, 5, 8, 0]
    #expect(
      try join([attribute(20, Array(inBytes)), attribute(10, [0, 5, 8, 0, 1])])
        == Self.link.prefix(12) + [0x81, 0] + [0, 5, 8, 0, 1])
  }

  @Test func `without a link header or a payload there is no frame`() throws {
    #expect(try join([attribute(10, [1, 2])]) == nil)
    #expect(try join([attribute(20, Array(Self.link.prefix(13))), attribute(10, [1])]) == nil)
    #expect(try join([attribute(20, Self.link)]) == nil)
  }
}
