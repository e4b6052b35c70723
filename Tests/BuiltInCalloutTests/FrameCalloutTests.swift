// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import PacketViews
import Synchronization
import Testing

struct FrameCalloutTests {
  let board = TallyBoard()
  static let layer = Layer.inboundMACFrameEthernet

  @Test func `permit, block and delay do the same to frames`() throws {
    var permit = try ClassificationBench(
      PermitCallout.registration(name: "yes", counting: board), terminating: true,
      layer: Self.layer)
    var block = try ClassificationBench(
      BlockCallout.registration(name: "no", counting: board), layer: Self.layer)
    var delay = try ClassificationBench(
      DelayCallout.registration(
        name: "slow", DelayCallout.Configuration(for: .milliseconds(200)), counting: board),
      layer: Self.layer)
    #expect(try permit.classify(frame: SampleFrame.dnsQuery).word == "permit")
    #expect(try block.classify(frame: SampleFrame.dnsQuery).word == "block")
    guard case .hold(1_200_000_000, true) = try delay.classify(frame: SampleFrame.dnsQuery) else {
      Issue.record("the frame is not held")
      return
    }
    #expect(board.packets == 3 && board.bytes == 3 * 46)
  }

  @Test func `a frame's context by flow is that of its packet`() throws {
    let issuer = TagIssuer()
    let tag = try #require(issuer.makeTag())
    let registration = TagCallout.registration(
      name: "tag", TagCallout.Configuration(context: .flowHash, tag: tag), counting: board)
    var frames = try ClassificationBench(registration, issuer: issuer, layer: Self.layer)
    var packets = try ClassificationBench(registration, issuer: issuer)
    #expect(try frames.classify(frame: SampleFrame.dnsQuery).word == "permit")
    _ = try packets.classify(SamplePacket.dnsQuery)
    let first = try frames.out.retrieve(tag)
    let second = try packets.out.retrieve(tag)
    #expect(first == second && board.packets == 2 && board.refused == 0)
  }

  @Test func `frames are described with what can be read of them`() throws {
    let notes = Mutex<[String]>([])
    var bench = try ClassificationBench(
      InspectCallout.registration(
        name: "watch", InspectCallout.Configuration(log: EventRate(10, per: .seconds(1))),
        counting: board, sink: { note in notes.withLock { $0.append(note.description) } }),
      layer: Self.layer)
    _ = try bench.classify(frame: SampleFrame.dnsQuery)
    _ = try bench.classify(frame: SampleFrame.arp(vlan: 9))
    _ = try bench.classify(frame: [1, 2, 3])
    #expect(
      notes.withLock { $0 } == [
        "inbound-mac-frame-ethernet type 0x800 02:00:00:00:00:01 > 02:00:00:00:00:02 length 46",
        "inbound-mac-frame-ethernet type 0x806 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff vlan 9 "
          + "length 46",
        "inbound-mac-frame-ethernet type 0x0 (frame ends within its addresses or its type) "
          + "length 3",
      ])
  }

  private func rewritten(
    _ change: FrameChange, _ bytes: [UInt8] = SampleFrame.dnsQuery, blocks: Bool = false,
    at layer: Layer = layer
  ) throws -> (String, [UInt8]) {
    var bench = try ClassificationBench(
      FrameRewriteCallout.registration(
        name: "mac", FrameRewriteCallout.Configuration(change, blocksRefused: blocks),
        counting: board),
      layer: layer)
    let word = try bench.classify(frame: bytes).word
    let result = bench.out.rewrittenFrame
    return (word, result.contents(of: bytes))
  }

  @Test func `all fields of a MAC header are written and the frame is permitted`() throws {
    var change = FrameChange()
    change.source = MACAddress(rawValue: 0x0200_0000_0007)
    change.destination = MACAddress(rawValue: 0x0200_0000_0008)
    change.etherType = EtherType(rawValue: 0x88b5)
    change.tag = .push(VLANTag(.vlan, control: 100))
    let (word, bytes) = try rewritten(change)
    #expect(word == "permit" && board.refused == 0)
    #expect(
      bytes == [2, 0, 0, 0, 0, 8, 2, 0, 0, 0, 0, 7, 0x81, 0, 0, 100, 0x88, 0xb5]
        + SamplePacket.dnsQuery)
  }

  @Test func `local and remote swap with the direction`() throws {
    var change = FrameChange()
    change.local = MACAddress(rawValue: 0x0200_0000_0007)
    let inbound = try rewritten(change).1
    #expect(inbound == [2, 0, 0, 0, 0, 7] + SampleFrame.dnsQuery[6...])
    let outbound = try rewritten(change, at: .outboundMACFrameNative).1
    #expect(Array(outbound[6..<12]) == [2, 0, 0, 0, 0, 7] && outbound[5] == 2)
  }

  @Test(arguments: [true, false])
  func `a frame that cannot be rewritten is counted and goes as the policy says`(blocks: Bool)
    throws
  {
    var change = FrameChange()
    change.source = MACAddress(rawValue: 0x0200_0000_0007)
    change.tag = .pop
    let (word, bytes) = try rewritten(change, blocks: blocks)
    #expect(word == (blocks ? "block" : "permit"))
    #expect(bytes == SampleFrame.dnsQuery && board.refused == 1)
  }
}
