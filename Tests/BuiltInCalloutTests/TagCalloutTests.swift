// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import Testing

struct TagCalloutTests {
  let issuer = TagIssuer()
  let board = TallyBoard()

  private func registration(
    _ context: TagCallout.Context, _ tag: ContextTag
  ) -> CalloutRegistration {
    TagCallout.registration(
      name: "tag", TagCallout.Configuration(context: context, tag: tag), counting: board)
  }

  @Test func `a fixed context is put on the packet and the decision is left to others`() throws {
    let tag = try #require(issuer.makeTag())
    var bench = try ClassificationBench(registration(.fixed(42), tag), issuer: issuer)
    #expect(try bench.classify(SamplePacket.dnsQuery).word == "permit")
    let context = try bench.out.retrieve(tag)
    #expect(context == 42)
    let answered = bench.out.mustDecide
    #expect(!answered)
    #expect(board.packets == 1)
    #expect(board.bytes == 32)
  }

  @Test func `under a terminating filter a tagged packet is permitted, not blocked`() throws {
    let tag = try #require(issuer.makeTag())
    var bench = try ClassificationBench(
      registration(.flowHash, tag), issuer: issuer, terminating: true)
    #expect(try bench.classify(SamplePacket.dnsQuery).word == "permit")
  }

  @Test func `instances of one registration give distinct sequence numbers`() throws {
    let tag = try #require(issuer.makeTag())
    let registration = registration(.sequence, tag)
    var first = try ClassificationBench(registration, issuer: issuer)
    var second = try ClassificationBench(registration, issuer: issuer)
    var contexts: [UInt64] = []
    for _ in 0..<3 {
      _ = try first.classify(SamplePacket.dnsQuery)
      contexts.append(try first.out.retrieve(tag))
      _ = try second.classify(SamplePacket.dnsQuery)
      contexts.append(try second.out.retrieve(tag))
    }
    #expect(contexts == [1, 2, 3, 4, 5, 6])
    #expect(board.packets == 6)
  }

  @Test func `a packet met at a second layer keeps its context and uses up no number`() throws {
    let tag = try #require(issuer.makeTag())
    var bench = try ClassificationBench(registration(.sequence, tag), issuer: issuer)
    _ = try bench.classify(SamplePacket.dnsQuery)
    _ = try bench.classifyAgain(SamplePacket.dnsQuery)
    let context = try bench.out.retrieve(tag)
    #expect(context == 1)
    _ = try bench.classify(SamplePacket.dnsQuery)
    let next = try bench.out.retrieve(tag)
    #expect(next == 2)
    #expect(board.refused == 0)
  }

  @Test func `a refused context is counted and the packet goes on`() throws {
    let tag = try #require(issuer.makeTag())
    var bench = try ClassificationBench(registration(.fixed(1), tag), issuer: issuer, mark: false)
    #expect(try bench.classify(SamplePacket.dnsQuery).word == "permit")
    #expect(board.refused == 1)
  }

  @Test func `the flow hash is that of the packet's five-tuple`() throws {
    let tag = try #require(issuer.makeTag())
    var bench = try ClassificationBench(registration(.flowHash, tag), issuer: issuer)
    _ = try bench.classify(SamplePacket.dnsQuery)
    let query = try bench.out.retrieve(tag)
    _ = try bench.classify(SamplePacket.dnsQuery)
    let same = try bench.out.retrieve(tag)
    _ = try bench.classify(SamplePacket.ping)
    let other = try bench.out.retrieve(tag)
    #expect(query == same)
    #expect(query != other)
  }

  @Test func `the revision changes with the configuration and only with it`() throws {
    let tag = try #require(issuer.makeTag())
    let one = registration(.fixed(1), tag).revision
    #expect(one == registration(.fixed(1), tag).revision)
    #expect(one != registration(.fixed(2), tag).revision)
    #expect(one != registration(.sequence, tag).revision)
    #expect(one != registration(.fixed(1), try #require(issuer.makeTag())).revision)
  }
}
