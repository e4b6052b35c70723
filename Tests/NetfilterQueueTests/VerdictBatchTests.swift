// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import Glibc
import Testing

@testable import NetfilterQueue

/// A batch whose kernel is the other end of a socket pair.
final class Wire {
  let batch: VerdictBatch
  private let ends: [CInt]

  /// A message longer than `room` bytes cannot be sent.
  init(queue: UInt16 = 31000, room: CInt = 4 << 20) {
    var ends: [CInt] = [-1, -1]
    precondition(socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0, &ends) == 0)
    var size = room
    for end in ends { setsockopt(end, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(4)) }
    self.ends = ends
    batch = VerdictBatch(descriptor: ends[0], queue: queue)
  }

  deinit { for end in ends { close(end) } }

  /// What flushing sends.
  func sent() -> [UInt8] {
    batch.flush()
    return next()
  }

  /// Sequence numbers carry a count of packets, for us alone.
  private static func withoutSequence(_ messages: [UInt8]) -> [UInt8] {
    var bytes = messages
    var message = 0
    while message + 16 <= bytes.count {
      for index in 8..<12 { bytes[message + index] = 0 }
      let length = (0..<3).reduce(0) { $0 | Int(bytes[message + $1]) << ($1 * 8) }
      message += max(16, length)
    }
    return bytes
  }

  func next() -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 1 << 19)
    let count = recv(ends[1], &buffer, buffer.count, Int32(MSG_DONTWAIT))
    return Self.withoutSequence(Array(buffer[..<max(0, count)]))
  }
}

/// What libnetfilter_queue makes of it.
func reference(
  _ id: UInt32, _ verdict: UInt32, mark: UInt32? = nil, payload: [UInt8]? = nil,
  queue: UInt16 = 31000, isBatch: Bool = false
) -> [UInt8] {
  var buffer = [UInt8](repeating: 0, count: 1 << 17)
  return buffer.withUnsafeMutableBytes { bytes in
    let type = isBatch ? NFQNL_MSG_VERDICT_BATCH : NFQNL_MSG_VERDICT
    guard let header = nfq_nlmsg_put(bytes.baseAddress, Int32(type.rawValue), UInt32(queue)) else {
      return []
    }
    nfq_nlmsg_verdict_put(header, Int32(bitPattern: id), Int32(bitPattern: verdict))
    if let mark { nfq_nlmsg_verdict_put_mark(header, mark) }
    if let payload { nfq_nlmsg_verdict_put_pkt(header, payload, UInt32(payload.count)) }
    return Array(bytes[..<Int(header.pointee.nlmsg_len)])
  }
}

@Suite struct VerdictBatchTests {
  let wire = Wire()

  @Test(arguments: [nil, 0x1234_5678] as [UInt32?], [nil, 0x8100_a064] as [UInt32?])
  func `F78: a bridged frame's new header goes as L2HDR, its tag as a nest beside it`(
    mark: UInt32?, tag: UInt32?
  ) {
    var link: [14 of UInt8] = .init(repeating: 0)
    for index in link.indices { link[index] = UInt8(index + 1) }
    wire.batch.append(7, .accept, mark: mark, header: BridgedHeader(link: link, tag: tag))
    wire.batch.append(8, .accept, mark: nil, mergeable: true)
    var body: [UInt8] = [0, 0] + big(UInt16(31000))
    body += attribute(2, big(UInt32(1)) + big(UInt32(7)))
    if let mark { body += attribute(3, big(mark)) }
    body += attribute(20, (1...14).map { UInt8($0) })
    if let tag {
      let parts = attribute(1, big(UInt16(tag >> 16))) + attribute(2, big(UInt16(tag & 0xffff)))
      body += attribute(19 | 0x8000, parts)
    }
    var expected = message(0x0301, body)
    expected[6] = 1  // NLM_F_REQUEST
    #expect(wire.sent() == expected + reference(8, 1))
    #expect(wire.batch.verdictCount == 2)
  }

  @Test(
    arguments: [
      (.accept, 1), (.drop, 0), (.repeat, 4), (.stop, 5), (.requeue(7, bypass: false), 0x7_0003),
      (.requeue(65535, bypass: true), 0xffff_8003),
    ] as [(Verdict, UInt32)])
  func `verdict and mark are the library's bytes`(verdict: Verdict, number: UInt32) {
    for id in [1, 0x0102_0304, UInt32.max] {
      wire.batch.append(id, verdict, mark: nil, mergeable: false)
      #expect(wire.sent() == reference(id, number))
      wire.batch.append(id, verdict, mark: 0xdead_beef, mergeable: true)
      #expect(wire.sent() == reference(id, number, mark: 0xdead_beef))
    }
    #expect(wire.sent().isEmpty)
  }

  @Test(arguments: [1, 2, 3, 4, 40, 41, 1500, 65531])
  func `a payload is the library's bytes, padding cleared`(count: Int) {
    let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    wire.batch.append(0xffff, .drop, mark: 1, payload: [UInt8](repeating: 0xff, count: 60000).span)
    _ = wire.sent()
    for mark in [nil, 5] as [UInt32?] {
      wire.batch.append(9, .accept, mark: mark, payload: payload.span)
      #expect(wire.sent() == reference(9, 1, mark: mark, payload: payload))
    }
  }

  @Test func `a payload that no attribute can hold stops the program, one byte less does not`()
    async
  {
    await #expect(processExitsWith: .failure) {
      let payload = [UInt8](repeating: 1, count: 65532)
      VerdictBatch(descriptor: -1, queue: 1).append(1, .accept, mark: nil, payload: payload.span)
    }
  }

  @Test func `a run of equal verdicts and marks is one batch message up to its last packet`() {
    for id in 1...5 as ClosedRange<UInt32> {
      wire.batch.append(id, .accept, mark: 7, mergeable: true)
    }
    #expect(wire.sent() == reference(5, 1, mark: 7, isBatch: true))
    #expect(wire.batch.verdictCount == 5 && wire.batch.messageCount == 1)
    wire.batch.append(6, .accept, mark: 7, mergeable: true)
    #expect(wire.sent() == reference(6, 1, mark: 7))
  }

  @Test func `verdicts that may not be merged are not`() {
    for id in 1...3 as ClosedRange<UInt32> {
      wire.batch.append(id, .accept, mark: nil, mergeable: false)
    }
    wire.batch.append(4, .accept, mark: nil, mergeable: true)
    wire.batch.append(5, .accept, mark: nil, mergeable: false)
    wire.batch.append(6, .accept, mark: nil, mergeable: true)
    #expect(wire.sent() == (1...6).flatMap { reference($0, 1) })
  }

  @Test func `another mark, verdict or a payload between ends the run`() {
    wire.batch.append(1, .accept, mark: nil, mergeable: true)
    wire.batch.append(2, .accept, mark: 0, mergeable: true)
    wire.batch.append(3, .accept, mark: 1, mergeable: true)
    wire.batch.append(4, .drop, mark: 1, mergeable: true)
    wire.batch.append(5, .drop, mark: 1, payload: [1, 2, 3].span)
    wire.batch.append(6, .drop, mark: 1, mergeable: true)
    wire.batch.append(7, .drop, mark: 1, mergeable: true)
    #expect(
      wire.sent() == reference(1, 1) + reference(2, 1, mark: 0) + reference(3, 1, mark: 1)
        + reference(4, 0, mark: 1) + reference(5, 0, mark: 1, payload: [1, 2, 3])
        + reference(7, 0, mark: 1, isBatch: true))
  }

  @Test func `a random mix decides every packet once and as it was asked`() {
    var random = SeededGenerator(state: 3)
    var asked: [UInt32: [UInt32?]] = [:]
    for id in 1...2000 as ClosedRange<UInt32> {
      let verdict: Verdict = Bool.random(using: &random) ? .accept : .drop
      let mark: UInt32? = [nil, 0, 1].randomElement(using: &random) ?? nil
      asked[id] = [verdict.rawValue, mark]
      if Int.random(in: 0..<6, using: &random) == 0 {
        wire.batch.append(id, verdict, mark: mark, payload: [1].span)
      } else {
        wire.batch.append(id, verdict, mark: mark, mergeable: true)
      }
    }
    var decided: [UInt32: [UInt32?]] = [:]
    var bytes = wire.sent()[...]
    while bytes.count >= 32 {
      let length = Int(bytes[bytes.startIndex]) | Int(bytes[bytes.startIndex + 1]) << 8
      let message = Array(bytes.prefix(length))
      bytes = bytes.dropFirst((length + 3) & ~3)
      let id = message[28..<32].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      let verdict = UInt32(message[27])
      let mark: UInt32? = message.count >= 40 && message[34] == 3 ? UInt32(message[39]) : nil
      let first = message[4] == 3 ? (decided.keys.max() ?? 0) + 1 : id
      for number in first...id { decided[number] = [verdict, mark] }
    }
    #expect(decided == asked)
  }

  @Test func `a full buffer is sent by itself and nothing is lost`() {
    let payload = [UInt8](repeating: 5, count: 60000)
    for id in 1...6 as ClosedRange<UInt32> {
      wire.batch.append(id, .accept, mark: nil, payload: payload.span)
    }
    let first = wire.next()
    #expect(first == (1...4).flatMap { reference($0, 1, payload: payload) })
    #expect(wire.sent() == (5...6).flatMap { reference($0, 1, payload: payload) })
  }

  @Test func `verdicts that cannot be sent are counted packet by packet`() {
    let batch = VerdictBatch(descriptor: -1, queue: 1)
    batch.append(1, .accept, mark: nil, mergeable: true)
    batch.append(2, .accept, mark: nil, mergeable: true)
    batch.append(3, .drop, mark: nil, mergeable: false)
    batch.append(4, .drop, mark: nil, payload: [1].span)
    batch.flush()
    #expect(batch.unsentCount == 4)
  }

  @Test func `behind a verdict that cannot be sent no batch message follows, now or later`() {
    let wire = Wire(room: 4608)
    let long = [UInt8](repeating: 1, count: 60000)
    wire.batch.append(1, .accept, mark: nil, mergeable: true)
    wire.batch.append(2, .accept, mark: nil, mergeable: true)
    wire.batch.append(3, .drop, mark: nil, payload: long.span)
    for id in 4...6 as ClosedRange<UInt32> {
      wire.batch.append(id, .accept, mark: 7, mergeable: true)
    }
    #expect(wire.sent() == reference(2, 1, isBatch: true))
    for id in 4...6 as ClosedRange<UInt32> { #expect(wire.next() == reference(id, 1, mark: 7)) }
    #expect(wire.batch.unsentCount == 1)
    for id in 7...8 as ClosedRange<UInt32> {
      wire.batch.append(id, .drop, mark: nil, mergeable: true)
    }
    #expect(wire.sent() == reference(7, 0) + reference(8, 0))
    #expect(wire.batch.unsentCount == 1 && wire.batch.verdictCount == 8)
  }

  @Test func `a run ends where an id is missing`() {
    for id in [1, 2, 4, 5] as [UInt32] {
      wire.batch.append(id, .accept, mark: nil, mergeable: true)
    }
    #expect(wire.sent() == reference(2, 1, isBatch: true) + reference(5, 1, isBatch: true))
  }
}

@Suite struct UnsettledPacketTests {
  let wire = Wire()

  @Test func `a packet that is dropped on the floor gets the failure verdict, once`() {
    for failure in [Verdict.accept, .drop] {
      do { _ = UnsettledPacket(5, verdicts: wire.batch, failure: failure) }
      #expect(wire.sent() == reference(5, failure.rawValue))
    }
    #expect(wire.batch.verdictCount == 2)
  }

  @Test func `a settled packet gets its verdict and no other`() {
    UnsettledPacket(5, verdicts: wire.batch, failure: .drop).settle(.accept, mark: 9)
    UnsettledPacket(6, verdicts: wire.batch, failure: .drop).settle(.accept, payload: [1].span)
    #expect(wire.sent() == reference(5, 1, mark: 9) + reference(6, 1, payload: [1]))
    #expect(wire.batch.verdictCount == 2)
  }

  @Test func `a packet that is kept waiting gets none`() {
    let id = UnsettledPacket(5, verdicts: wire.batch, failure: .drop).keepWaiting()
    #expect(id == 5)
    #expect(wire.sent().isEmpty && wire.batch.verdictCount == 0)
  }
}
