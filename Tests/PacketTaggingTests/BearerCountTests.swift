// SPDX-License-Identifier: Apache-2.0

import Kernel
import Testing

@testable import PacketTagging

/// What is concluded where the kernel lets the buffers that bear a handle be counted.
@Suite struct BearerCountTests {
  /// Two buffers of the kernel.
  private let first: UInt64 = 0xffff_8881_0123_4500
  private let second: UInt64 = 0xffff_8881_0765_4300

  private struct Observed {
    let source: SightingTests.Source
    let rig: Rig
    let packet: TestPacket

    /// A packet that was let go at its last hook.
    init(_ hook: Departure = .postrouting, isInbound: Bool = false) throws {
      source = try SightingTests.Source(countsCopies: true)
      rig = Rig(mask: 0x0fff_ff00, source: source)
      packet = rig.tagged([(7, rig.tag())])
      rig.table.leave(packet.handle, hook, isInbound: isInbound, .exact, layer: 16)
    }

    func note(_ body: (inout Sighting, inout BearerCount) throws -> Void) throws {
      let bearers = try #require(source.bearers)
      let index = Int(packet.handle)
      var (sighting, count) = (source.sightings[index], bearers[index])
      try body(&sighting, &count)
      (source.sightings[index], bearers[index]) = (sighting, count)
    }

    /// What is known after some time.
    func story(after milliseconds: UInt64) -> [String] {
      for _ in 0..<max(1, milliseconds / 50) {
        rig.advance(min(milliseconds, 50))
        _ = rig.table.followDepartures()
        rig.table.sweep()
      }
      return rig.story()
    }

    var time: UInt32 { UInt32(truncatingIfNeeded: rig.table.now >> 10) }
  }

  @Test func `a copy that is still there keeps the handle, and the last to go ends it`() throws {
    let observed = try Observed()
    try observed.note { sighting, count in
      (sighting.buffer, sighting.seen) = (first, [.sent, .several])
      sighting.sent = observed.time
      count.change = second
    }
    #expect(observed.story(after: 1000) == ["entered_netio", "exit_netio", "send_complete"])
    try observed.note { _, count in count.change = 0 &- first }
    #expect(observed.story(after: 50) == ["transmitted"])
  }

  @Test func `one whose end nobody sees keeps it no longer than the sweep's time`() throws {
    let observed = try Observed()
    try observed.note { sighting, count in
      (sighting.buffer, sighting.seen) = (first, [.sent, .several])
      sighting.sent = observed.time
      count.change = second &- first
    }
    #expect(observed.story(after: 1900).last == "send_complete")
    #expect(observed.story(after: 200).last == "transmitted")
  }

  @Test func `a packet of which nothing is left is freed, though nobody told of it`() throws {
    let inbound = try Observed(isInbound: true)
    try inbound.note { sighting, count in
      sighting.buffer = first
      count.change = 0 &- first
    }
    #expect(inbound.story(after: 50).suffix(2) == ["receive_complete", "delivered"])
    let outbound = try Observed()
    try outbound.note { sighting, count in
      sighting.buffer = first
      count.change = 0 &- first
    }
    #expect(outbound.story(after: 50).last == "released")
  }

  @Test func `nothing seen is not over`() throws {
    #expect(try Observed().story(after: 100).last == "exit_netio")
  }

  @Test func `each copy is told once, where it was made`() throws {
    let observed = try Observed()
    try observed.note { sighting, count in
      (sighting.buffer, sighting.seen) = (first, .several)
      count.change = second
      count.copied = observed.time
      count.copies = 2 | 1 << 16
    }
    #expect(
      observed.story(after: 50).suffix(3) == [
        "cloned_by_ndis", "cloned_by_ndis", "duplicated_by_netio",
      ])
    #expect(observed.story(after: 50).isEmpty)
    try observed.note { _, count in count.copies += 1 }
    #expect(observed.story(after: 50) == ["cloned_by_ndis"])
    let inbound = try Observed(isInbound: true)
    try inbound.note { _, count in count.copies = 1 }
    #expect(inbound.story(after: 50).last == "cloned_by_netio")
  }

  @Test func `a copy that came to a queue is not told again`() throws {
    let source = try SightingTests.Source(countsCopies: true)
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let packet = rig.tagged([(7, rig.tag())])
    try #require(source.bearers)[Int(packet.handle)].copies = 1
    let copy = rig.meet(packet.handle, at: .prerouting, isBridged: true)
    for each in [packet, copy] {
      rig.table.leave(each.handle, .postrouting, isInbound: false, .exact, layer: 16)
    }
    rig.advance(10)
    _ = rig.table.followDepartures()
    #expect(rig.story().filter { $0.hasPrefix("cloned") } == ["cloned_by_netio"])
  }

  @Test func `a copy that was told is not told again when it comes to a queue`() throws {
    let source = try SightingTests.Source(countsCopies: true)
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let packet = rig.tagged([(7, rig.tag())])
    try #require(source.bearers)[Int(packet.handle)].copies = 1
    rig.table.leave(packet.handle, .postrouting, isInbound: false, .exact, layer: 16)
    rig.advance(60)
    _ = rig.table.followDepartures()
    #expect(rig.story().filter { $0.hasPrefix("cloned") } == ["cloned_by_ndis"])
    let copy = rig.meet(packet.handle, at: .prerouting, isBridged: true)
    #expect(copy.handle == packet.handle)
    #expect(rig.story().allSatisfy { !$0.hasPrefix("cloned") })
  }

  @Test func `as many copies as can be counted`() throws {
    let observed = try Observed()
    try observed.note { _, count in count.copies = .max }
    let told = observed.story(after: 50)
    #expect(told.filter { $0 == "cloned_by_ndis" }.count == 1024)
    #expect(observed.story(after: 50).isEmpty)
  }

  @Test func `the next packet's count begins anew`() throws {
    let source = try SightingTests.Source(countsCopies: true)
    let bearers = try #require(source.bearers)
    for index in 1..<64 { bearers[index].change = 9 }
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    #expect(bearers[Int(rig.tagged([(7, rig.tag())]).handle)] == BearerCount())
  }

  @Test func `what was tagged before the counting began is not counted`() throws {
    let source = try SightingTests.Source(countsCopies: true)
    try #require(source.bearers).isCounting = false
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let packet = rig.tagged([(7, rig.tag())])
    try #require(source.bearers).isCounting = true
    rig.table.leave(packet.handle, .postrouting, isInbound: false, .exact, layer: 16)
    let index = Int(packet.handle)
    source.sightings[index].buffer = first
    try #require(source.bearers)[index].change &-= first
    try #require(source.bearers)[index].copies = 3
    rig.advance(100)
    _ = rig.table.followDepartures()
    rig.table.sweep()
    #expect(rig.story() == ["entered_netio", "exit_netio"])
  }

  @Test func `a handle that is borne still is not the next packet's`() throws {
    let observed = try Observed()
    try observed.note { sighting, count in
      (sighting.buffer, sighting.seen) = (first, .sent)
      sighting.sent = observed.time
    }
    #expect(observed.story(after: 50).last == "transmitted")
    observed.rig.advance(1000)
    #expect(observed.rig.tagged([(8, observed.rig.tag())]).handle != observed.packet.handle)
  }

  @Test func `a bearer that was not seen to come leaves what follows to what is seen`() throws {
    let observed = try Observed()
    try observed.note { sighting, count in
      (sighting.buffer, sighting.seen) = (first, [.sent, .several])
      sighting.sent = observed.time
      count.change = 1 &- first
    }
    observed.rig.advance(50)
    #expect(observed.story(after: 50).last == "transmitted")
    #expect(observed.rig.counters.ended == 1)
  }

  @Test func `a fragment whose data went over to another is reassembled`() throws {
    let source = try SightingTests.Source(countsCopies: true)
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let fragment = rig.packet(flow: 0)
    fragment.packet.fragmentKey = 5
    #expect(rig.put(1, rig.tag(), fragment) == nil)
    rig.letGo(fragment, from: .prerouting)
    source.sightings[Int(fragment.handle)].buffer = first
    try #require(source.bearers)[Int(fragment.handle)].change = 0 &- first
    rig.advance(10)
    _ = rig.table.followDepartures()
    #expect(rig.story().last == "reassembled")
  }

  @Test func `a copy that we mark otherwise is not waited for`() throws {
    let source = try SightingTests.Source(countsCopies: true)
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let packet = rig.tagged([(7, rig.tag(.detach))])
    let index = Int(packet.handle)
    try #require(source.bearers)[index].change = second
    try #require(source.bearers)[index].copies = 1 << 16
    let copy = rig.meet(packet.handle, at: .prerouting)
    #expect(copy.handle == 0)
    rig.table.leave(packet.handle, .postrouting, isInbound: false, .exact, layer: 16)
    source.sightings[index].buffer = first
    source.sightings[index].seen = [.sent, .several]
    source.sightings[index].sent = UInt32(truncatingIfNeeded: rig.table.now >> 10)
    for _ in 0..<2 {
      rig.advance(50)
      _ = rig.table.followDepartures()
      rig.table.sweep()
    }
    #expect(rig.story().last == "transmitted")
  }
}
