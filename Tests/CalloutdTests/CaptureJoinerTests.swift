// SPDX-License-Identifier: Apache-2.0

import CalloutControl
import Testing

@testable import calloutctl

struct CaptureJoinerTests {
  private func packet(_ packetID: UInt32, handle: UInt32 = 3, contexts: Int = 1) -> PacketLine {
    PacketLine(
      time: 5_000_000_000, handle: handle, packetID: packetID, queue: 31000,
      layer: "outbound-transport-v4", device: "eth0", isInbound: false, originalLength: 3,
      contexts: contexts, bytes: "AQID")
  }

  @Test func `a packet is ready when its life has ended`() {
    var joiner = CaptureJoiner()
    joiner.add(packet(4))
    let begun = joiner.add(event("entered_netio", at: 0, packetID: 4))
    let later = joiner.add(event("exit_netio", at: 1, packetID: 9))
    let ended = joiner.add(event("context_removed", at: 2, packetID: 9, reason: "delivered"))
    #expect(begun == nil && later == nil)
    #expect(ended?.packet == packet(4))
    #expect(ended?.lives.first?.events.count == 3)
    #expect(ended?.isAccepted == true)
    #expect(joiner.count == 0)
  }

  @Test func `two packets of one handle each get their own life`() {
    var joiner = CaptureJoiner()
    joiner.add(packet(4))
    joiner.add(packet(6))
    _ = joiner.add(event("entered_netio", at: 0, packetID: 4))
    let first = joiner.add(event("context_removed", at: 1, packetID: 5, reason: "blocked"))
    _ = joiner.add(event("entered_netio", at: 1, packetID: 6))
    let second = joiner.add(event("context_removed", at: 2, packetID: 6, reason: "transmitted"))
    #expect(first?.packet.packetID == 4)
    #expect(first?.isAccepted == false)
    #expect(second?.packet.packetID == 6)
    #expect(second?.isAccepted == true)
  }

  @Test func `a packet with two contexts waits for both lives`() {
    var joiner = CaptureJoiner()
    joiner.add(packet(4, contexts: 2))
    let one = joiner.add(event("context_removed", at: 1, context: "0x1", reason: "blocked"))
    let two = joiner.add(event("context_removed", at: 1, context: "0x2", reason: "blocked"))
    #expect(one == nil)
    #expect(two?.lives.map(\.first.context) == ["0x1", "0x2"])
  }

  @Test func `events of packets that were not captured are passed over`() {
    var joiner = CaptureJoiner()
    joiner.add(packet(10))
    let unknown = joiner.add(event("context_removed", at: 0, handle: 8, reason: "lost"))
    let earlier = joiner.add(event("context_removed", at: 0, packetID: 9, reason: "lost"))
    #expect(unknown == nil && earlier == nil)
    #expect(joiner.count == 1)
  }

  @Test func `ids may go round`() {
    var joiner = CaptureJoiner()
    joiner.add(packet(.max))
    let ended = joiner.add(event("context_removed", at: 0, packetID: 1, reason: "lost"))
    #expect(ended?.packet.packetID == .max)
    #expect(ended?.isAccepted == .some(nil))
  }

  @Test func `held packets are bounded and the oldest is given up`() {
    var joiner = CaptureJoiner(packets: 10)
    for number in 1...100 as ClosedRange<UInt32> { joiner.add(packet(number, handle: number)) }
    #expect(joiner.count == 10)
    #expect(joiner.forgotten == 90)
    let old = joiner.add(
      event("context_removed", at: 0, handle: 90, packetID: 90, reason: "lost"))
    let new = joiner.add(
      event("context_removed", at: 0, handle: 91, packetID: 91, reason: "lost"))
    #expect(old == nil)
    #expect(new?.packet.packetID == 91)
  }
}
