// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import PacketViews
import Synchronization
import Testing

struct DecidingCalloutTests {
  let board = TallyBoard()

  @Test func `permit and block do what they are called`() throws {
    var permit = try ClassificationBench(
      PermitCallout.registration(name: "yes", counting: board), terminating: true)
    var block = try ClassificationBench(BlockCallout.registration(name: "no", counting: board))
    #expect(try permit.classify(SamplePacket.ping).word == "permit")
    #expect(try block.classify(SamplePacket.ping).word == "block")
    #expect(board.packets == 2)
  }

  @Test(arguments: [true, false])
  func `delay holds a packet for its time`(permits: Bool) throws {
    var bench = try ClassificationBench(
      DelayCallout.registration(
        name: "slow", DelayCallout.Configuration(for: .milliseconds(200), thenPermits: permits),
        counting: board))
    guard case .hold(let until, let then) = try bench.classify(SamplePacket.ping) else {
      Issue.record("the packet is not held")
      return
    }
    #expect(until == 1_200_000_000)
    #expect(then == permits)
  }
}

struct InspectCalloutTests {
  /// The notes that a sink was given.
  final class Notes: Sendable {
    let list = Mutex<[InspectionNote]>([])
    var count: Int { list.withLock { $0.count } }
  }

  let board = TallyBoard()
  let notes = Notes()

  private func makeBench(_ rate: EventRate?) throws -> ClassificationBench {
    try ClassificationBench(
      InspectCallout.registration(
        name: "watch", InspectCallout.Configuration(log: rate), counting: board,
        sink: { [notes] note in notes.list.withLock { $0.append(note) } }))
  }

  @Test func `every packet is counted and no more are described than the rate allows`() throws {
    var bench = try makeBench(EventRate(10, per: .seconds(1)))
    for _ in 0..<1000 { _ = try bench.classify(SamplePacket.dnsQuery) }
    #expect(notes.count == 10)
    bench.out.contexts.now += 500_000_000
    for _ in 0..<1000 { _ = try bench.classify(SamplePacket.dnsQuery) }
    #expect(notes.count == 15)
    bench.out.contexts.now += 60_000_000_000
    for _ in 0..<1000 { _ = try bench.classify(SamplePacket.dnsQuery) }
    #expect(notes.count == 25)
    #expect(board.packets == 3000)
    #expect(board.bytes == 96000)
  }

  @Test func `without a rate nothing is described`() throws {
    var bench = try makeBench(nil)
    #expect(try bench.classify(SamplePacket.dnsQuery).word == "permit")
    #expect(notes.count == 0)
  }

  @Test func `a note says where, what, from and to`() throws {
    var bench = try makeBench(EventRate(1, per: .seconds(1)))
    _ = try bench.classify(SamplePacket.dnsQuery)
    let text = notes.list.withLock { $0.first?.description }
    #expect(
      text == "outbound-transport-v4 protocol 17 192.0.2.1:4000 > 10.0.0.1:53 length 32")
  }
}

struct RewriteCalloutTests {
  let board = TallyBoard()

  private func makeBench(
    _ change: HeaderChange, blocksRefused: Bool = false, at layer: Layer = .outboundTransportV4
  ) throws -> ClassificationBench {
    try ClassificationBench(
      RewriteCallout.registration(
        name: "nat", RewriteCallout.Configuration(change, blocksRefused: blocksRefused),
        counting: board),
      layer: layer)
  }

  @Test func `all fields are written and the packet is permitted`() throws {
    var change = HeaderChange()
    change.sourceAddress = IPAddress(192, 0, 2, 9)
    change.destinationAddress = IPAddress(10, 0, 0, 7)
    change.sourcePort = 5000
    change.destinationPort = 8053
    change.timeToLive = 64
    change.dscp = 46
    var bench = try makeBench(change)
    #expect(try bench.classify(SamplePacket.dnsQuery).word == "permit")
    let layoutLayout = bench.rewritten
    let layout = try #require(layoutLayout)
    #expect(layout.sourceAddress == IPAddress(192, 0, 2, 9))
    #expect(layout.destinationAddress == IPAddress(10, 0, 0, 7))
    #expect(layout.sourcePort == 5000)
    #expect(layout.destinationPort == 8053)
    #expect(layout.timeToLive == 64)
    #expect(layout.dscp == 46)
    #expect(board.refused == 0)
  }

  @Test func `local and remote are source and destination of what leaves, swapped inbound`() throws
  {
    var change = HeaderChange()
    change.localPort = 1111
    change.remotePort = 2222
    change.remoteAddress = IPAddress(10, 0, 0, 7)
    var outbound = try makeBench(change)
    _ = try outbound.classify(SamplePacket.dnsQuery)
    let leavingLayout = outbound.rewritten
    let leaving = try #require(leavingLayout)
    #expect([leaving.sourcePort, leaving.destinationPort] == [1111, 2222])
    #expect(leaving.destinationAddress == IPAddress(10, 0, 0, 7))
    var inbound = try makeBench(change, at: .inboundTransportV4)
    _ = try inbound.classify(SamplePacket.dnsQuery)
    let arrivingLayout = inbound.rewritten
    let arriving = try #require(arrivingLayout)
    #expect([arriving.sourcePort, arriving.destinationPort] == [2222, 1111])
    #expect(arriving.sourceAddress == IPAddress(10, 0, 0, 7))
  }

  @Test(arguments: [true, false])
  func `a packet that cannot be rewritten is counted and goes as the policy says`(
    blocks: Bool
  ) throws {
    var change = HeaderChange()
    change.timeToLive = 1
    change.remotePort = 53
    var bench = try makeBench(change, blocksRefused: blocks)
    #expect(try bench.classify(SamplePacket.ping).word == (blocks ? "block" : "permit"))
    let rewritten = bench.rewritten
    #expect(rewritten == nil)
    #expect(board.refused == 1)
  }

  @Test func `a forwarded packet has no local end, so it is refused`() throws {
    var change = HeaderChange()
    change.localPort = 1
    var bench = try makeBench(change, at: .ipForwardV4)
    _ = try bench.classify(SamplePacket.dnsQuery)
    let rewritten = bench.rewritten
    #expect(rewritten == nil)
    #expect(board.refused == 1)
  }

  @Test func `rewriting needs the whole packet`() {
    let registration = RewriteCallout.registration(
      name: "nat", RewriteCallout.Configuration(HeaderChange()), counting: board)
    #expect(registration.neededBytes == .wholePacket)
  }
}
