// SPDX-License-Identifier: Apache-2.0

import CalloutControl
import Foundation
import Testing

@testable import calloutctl

/// An event of a life, `microseconds` after the start.
func event(
  _ name: String, at microseconds: UInt64, context: String = "0x2a", handle: UInt32 = 3,
  packetID: UInt32 = 4, layer: String = "outbound-transport-v4", reason: String? = nil
) -> EventLine {
  EventLine(
    time: 5_000_000_000 + microseconds * 1000, event: name, tag: "0x1", tagName: "dns",
    context: context, handle: handle, packetID: packetID, queue: 31000, layer: layer,
    reason: reason, certainty: "exact")
}

struct TraceTests {
  @Test func `a life is told when its last event comes`() throws {
    var lives = LifeGatherer()
    let early = lives.add(event("entered_netio", at: 0))
    let other = lives.add(event("entered_netio", at: 10, context: "0x2b", handle: 4))
    let late = lives.add(event("exit_netio", at: 20))
    let ended = lives.add(event("context_removed", at: 30, reason: "blocked"))
    let life = try #require(ended)
    #expect(early == nil && other == nil && late == nil)
    #expect(life.events.map(\.event) == ["entered_netio", "exit_netio", "context_removed"])
    #expect(life.duration == 30_000)
    #expect(lives.openCount == 1)
  }

  @Test func `a handle that is given anew begins a new life`() throws {
    var lives = LifeGatherer()
    for start in [0, 100] as [UInt64] {
      _ = lives.add(event("entered_netio", at: start))
      let life = lives.add(event("context_removed", at: start + 50, reason: "dropped"))
      #expect(try #require(life).events.count == 2)
    }
  }

  @Test func `an end without a beginning is a life of one event`() {
    var lives = LifeGatherer()
    let life = lives.add(event("context_removed", at: 0, reason: "lost"))
    #expect(life?.events.count == 1)
    #expect(life?.duration == 0)
  }

  @Test func `open lives are bounded and the oldest is given up`() {
    var lives = LifeGatherer(capacity: 3)
    for handle in 1...100 as ClosedRange<UInt32> {
      _ = lives.add(event("entered_netio", at: UInt64(handle), handle: handle))
    }
    #expect(lives.openCount == 3)
    #expect(lives.forgotten == 97)
    let forgotten = lives.add(event("context_removed", at: 200, handle: 97, reason: "lost"))
    let kept = lives.add(event("context_removed", at: 200, handle: 98, reason: "lost"))
    #expect(forgotten?.events.count == 1)
    #expect(kept?.events.count == 2)
  }

  @Test func `the events of one life are bounded and its end is kept`() {
    var lives = LifeGatherer()
    for time in 0..<300 as Range<UInt64> {
      _ = lives.add(event("duplicated_by_netio", at: time))
    }
    let life = lives.add(event("context_removed", at: 300, reason: "delivered"))
    #expect(life?.events.count == Life.maximumEvents + 1)
    #expect(life?.omitted == 300 - Life.maximumEvents)
    #expect(life?.hasEnded == true)
  }

  @Test func `a timeline tells times, steps, devices and where a packet was dropped`() {
    var life = Life(event("entered_netio", at: 0))
    life.add(event("exit_netio", at: 35, layer: "outbound-ippacket-v4"))
    var end = event("context_removed", at: 1_250, reason: "dropped")
    end.dropReason = "NETFILTER_DROP"
    end.place = "nf_hook_slow+0xb6"
    end.device = "eth0"
    life.add(end)
    #expect(
      Timeline.text(life) == """
        dns=0x2a handle 3 packet 4 queue 31000 outbound-transport-v4: dropped after 1.250 ms
             0.000 ms     +0.000  entered_netio        outbound-transport-v4  exact
             0.035 ms     +0.035  exit_netio           outbound-ippacket-v4   exact
             1.250 ms     +1.215  context_removed      outbound-transport-v4  exact     \
        dropped NETFILTER_DROP in nf_hook_slow+0xb6 on eth0
        """)
  }

  @Test func `the JSON of a life holds its events with their times`() throws {
    var life = Life(event("entered_netio", at: 0))
    life.add(event("context_removed", at: 70, reason: "delivered"))
    let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(LifeReport(life)))
    let report = try #require(object as? [String: Any])
    let events = try #require(report["events"] as? [[String: Any]])
    #expect(report["tag-name"] as? String == "dns")
    #expect(report["reason"] as? String == "delivered")
    #expect(report["duration"] as? Int == 70_000)
    #expect(events.count == 2)
    #expect(events[1]["event"] as? String == "context_removed")
    #expect(events[1]["since-first"] as? Int == 70_000)
    #expect(events[1]["since-previous"] as? Int == 70_000)
    #expect(events[1]["packet-id"] as? Int == 4)
  }

  @Test func `options of trace are read as documented`() throws {
    let command = try TraceCommand.parse(["--count", "3", "--tag", "dns", "--json"])
    #expect(command.count == 3)
    #expect(command.tag == "dns")
    #expect(command.options.json)
    #expect(throws: (any Error).self) { try TraceCommand.parse(["--count", "-1"]) }
  }
}
