// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct BearerTests {
  let rig = Rig()

  @Test(
    arguments: [
      ([.prerouting, .input], false), ([.prerouting, .forward, .postrouting], false),
      ([.prerouting, .postrouting], false), ([.output, .postrouting], false),
      ([.output, .prerouting, .input], true), ([.output, .postrouting, .prerouting, .input], true),
      ([.output, .input], true),
    ] as [([Hook], Bool)])
  func `a packet that takes a legal way is one packet`(way: [Hook], towardsLoopback: Bool) {
    let tag = rig.tag()
    var packet = rig.tagged([(1, tag)])
    for (hook, next) in zip(way, way.dropFirst()) {
      rig.letGo(packet, from: hook, towardsLoopback: towardsLoopback)
      packet = rig.meet(packet.handle, at: next)
      #expect(rig.get(tag, packet) == 1)
    }
    #expect(rig.counters.copies == 0)
    rig.finish(packet, .delivered)
    #expect(rig.story() == ["delivered"] && rig.counters.live == 0)
  }

  @Test(arguments: [(Departure.anywhere, false), (.output, true), (.postrouting, false)])
  func `a frame that leaves a bridge by a second port is a clone`(
    departure: Departure, isAlwaysCopy: Bool
  ) {
    let tag = rig.tag()
    let packet = rig.tagged([(1, tag)])
    rig.table.depart(packet.handle, departure)
    let first = rig.meet(packet.handle, atPlace: .bridgedFrames)
    #expect(rig.get(tag, first) == 1 && rig.counters.copies == (isAlwaysCopy ? 1 : 0))
    rig.table.depart(first.handle, .output)
    #expect(rig.get(tag, rig.meet(packet.handle, atPlace: .bridgedFrames)) == 1)
    #expect(rig.counters.copies == (isAlwaysCopy ? 2 : 1))
    // Where it left, it can still be sent, or come by POSTROUTING where IP sees bridged frames.
    _ = rig.meet(packet.handle, atPlace: .sentFrames)
    #expect(rig.counters.copies == (isAlwaysCopy ? 2 : 1))
    #expect(Set(rig.story()) == ["cloned_by_netio"])
  }

  @Test func `that a layer is done is told of each context`() {
    let packet = rig.tagged([(1, rig.tag()), (2, rig.tag())])
    rig.table.complete(packet.handle, .vSwitchIngressComplete, layer: 72)
    rig.table.complete(0, .vSwitchIngressComplete, layer: 72)
    let events = rig.events()
    #expect(events.map(\.kind) == [.vSwitchIngressComplete, .vSwitchIngressComplete])
    #expect(events.map(\.context) == [1, 2] && events.allSatisfy { $0.layer == 72 })
  }

  static let illegal: [(Hook, Hook)] = [
    (.prerouting, [.prerouting, .output]), (.input, Hook.allCases),
    (.forward, [.prerouting, .input, .forward, .output]),
    (.output, [.prerouting, .input, .forward, .output]), (.postrouting, Hook.allCases),
  ].flatMap { from, next in next.map { (from, $0) } }

  @Test(arguments: illegal)
  func `a packet at a hook that cannot follow is a copy`(from: Hook, next: Hook) {
    let packet = rig.tagged([(1, rig.tag())])
    rig.letGo(packet, from: from)
    _ = rig.meet(packet.handle, at: next)
    #expect(rig.counters.copies == 1)
    #expect(rig.story() == ["duplicated_by_netio"])
  }

  @Test(arguments: Hook.allCases)
  func `a handle met while another id waits is a copy`(hook: Hook) {
    let packet = rig.tagged([(1, rig.tag())])
    let copy = rig.meet(packet.handle, at: hook)
    #expect(rig.counters.copies == 1 && copy.handle == packet.handle)
    let event = rig.events().first
    #expect(event?.packetID == packet.packet.id && event?.otherPacketID == copy.packet.id)
  }

  @Test(arguments: Hook.allCases)
  func `after repeat or requeue a packet may come to any hook`(hook: Hook) {
    let packet = rig.tagged([(1, rig.tag())])
    rig.table.depart(packet.handle, .anywhere)
    #expect(rig.meet(packet.handle, at: hook).handle == packet.handle)
    #expect(rig.counters.copies == 0)
  }

  @Test func `F16: three packets met under one handle are one original and two bridge clones`() {
    let packet = rig.tagged([(1, rig.tag())])
    rig.letGo(packet, from: .prerouting)
    let met = (0..<3).map { _ in rig.meet(packet.handle, at: .forward, isBridged: true) }
    let events = rig.events()
    #expect(events.map(\.kind) == [.clonedByNetIO, .clonedByNetIO])
    #expect(events.map(\.otherPacketID) == met.dropFirst().map(\.packet.id))
    #expect(events.allSatisfy { $0.certainty == .observed })
  }

  @Test func `F18: a copy that did not come by a bridge is a duplicate`() {
    let packet = rig.tagged([(1, rig.tag())])
    rig.letGo(packet, from: .prerouting)
    _ = rig.meet(packet.handle, at: .output)
    #expect(rig.story() == ["duplicated_by_netio"])
    #expect(rig.counters.count(.duplicatedByNetIO) == 1)
  }

  @Test func `F13: the exit event comes before the context is removed`() {
    let packet = rig.tagged([(1, rig.tag()), (2, rig.tag())])
    rig.finish(packet, .released, exits: true)
    let events = rig.events()
    #expect(events.map(\.kind) == [.exitNetIO, .exitNetIO, .contextRemoved, .contextRemoved])
    #expect(Set(events.prefix(2).map(\.context)) == [1, 2])
  }

  @Test(arguments: RemovalReason.allCases.filter { $0 != .none })
  func `F15: however a packet ends there is one terminal event`(reason: RemovalReason) {
    let packet = rig.tagged([(1, rig.tag())])
    rig.finish(packet, reason)
    rig.finish(packet, .delivered)
    rig.table.endAll(.ownerGone)
    #expect(rig.story() == [reason.name])
    #expect(rig.counters.ended(reason) == 1 && rig.counters.live == 0)
  }

  @Test func `a packet that met our hooks too often is looping`() {
    let rig = Rig(hops: 5)
    var packet = rig.tagged([(1, rig.tag())])
    for round in 1...6 {
      rig.table.depart(packet.handle, .anywhere)
      packet = rig.meet(packet.handle, at: .prerouting)
      #expect(packet.packet.isClone == (round > 5))
    }
    #expect(rig.counters.loops == 1)
  }

  @Test func `copies with handles of their own are looping too`() {
    let rig = Rig(hops: 5)
    var packet = rig.tagged([(1, rig.tag(.move))])
    var isLooping = false
    for _ in 0..<20 where !isLooping {
      packet = rig.meet(packet.handle, at: .prerouting)
      isLooping = packet.packet.isClone
    }
    #expect(isLooping)
  }

  @Test func `a packet is repeated four times at each hook`() {
    let packet = rig.packet()
    for _ in 0..<4 { #expect(rig.countRepeat(packet, at: .input)) }
    #expect(packet.handle != 0)
    #expect(!rig.countRepeat(packet, at: .input))
    for _ in 0..<4 { #expect(rig.countRepeat(packet, at: .output)) }
    #expect(!rig.countRepeat(packet, at: .output))
    rig.finish(packet, .blocked)
    #expect(rig.table.slot(packet.handle) == nil && rig.events().isEmpty)
  }

  @Test func `without a free handle nothing is repeated`() {
    let off = Rig(mask: nil)
    let packet = off.packet()
    #expect(!off.countRepeat(packet, at: .input))
  }

  @Test func `a swept context is lost by inference, one that waits is left alone`() {
    let tag = rig.tag()
    let gone = rig.tagged([(1, tag)])
    let waiting = rig.tagged([(2, tag)])
    rig.letGo(gone, from: .prerouting)
    rig.advance(1999)
    rig.table.sweep()
    #expect(rig.counters.live == 2)
    rig.advance(2)
    rig.table.sweep()
    let events = rig.events()
    #expect(events.map(\.context) == [1])
    #expect(events.first?.reason == .lost && events.first?.certainty == .inferred)
    rig.advance(100_000)
    rig.table.sweep()
    #expect(rig.get(tag, waiting) == 2)
  }

  @Test func `a longer patience than the clock's milliseconds can count is an hour`() {
    for patience in [4_294_968_000_000_000, .max] as [UInt64] {
      let rig = Rig(sweepAfter: patience)
      rig.letGo(rig.tagged([(1, rig.tag())]), from: .prerouting)
      rig.advance(3_599_999)
      #expect(rig.table.sweep() == false)
      #expect(rig.counters.live == 1)
      rig.advance(2)
      rig.table.sweep()
      #expect(rig.counters.live == 0)
    }
  }

  @Test func `a packet met again in time is not swept`() {
    let tag = rig.tag()
    var packet = rig.tagged([(1, tag)])
    for _ in 0..<10 {
      rig.table.depart(packet.handle, .anywhere)
      rig.advance(1500)
      rig.table.sweep()
      packet = rig.meet(packet.handle, at: .input)
      #expect(rig.get(tag, packet) == 1)
    }
    rig.table.depart(packet.handle, .anywhere)
    rig.advance(2001)
    rig.table.sweep()
    rig.advance(1001)
    rig.table.sweep()
    #expect(rig.story() == ["lost"])
  }

  @Test func `sweeping works when the machine has just started`() {
    rig.table.now = 1_000_000
    let waiting = rig.tagged([(1, rig.tag())])
    rig.letGo(waiting, from: .prerouting)
    rig.table.now = 500_000_000
    let tag = rig.tag()
    let met = rig.meet(waiting.handle, at: .input)
    rig.table.depart(met.handle, .anywhere)
    for _ in 0..<8 {
      rig.table.sweep()
      rig.advance(500)
    }
    #expect(rig.counters.live == 0)
    let later = rig.tagged([(2, tag)])
    rig.letGo(later, from: .prerouting)
    rig.advance(2500)
    rig.table.sweep()
    #expect(rig.counters.live == 0)
  }

  @Test func `ending everything ends every association once`() {
    let tags = [rig.tag(), rig.tag(.move), rig.tag(.detach)]
    let packet = rig.tagged(tags.map { (1, $0) })
    _ = rig.meet(packet.handle, at: .output)
    _ = rig.tagged([(2, tags[0])])
    rig.table.endAll(.ownerGone)
    #expect(rig.counters.live == 0)
    #expect(rig.story().filter { $0 == "owner_gone" }.count == 4)
  }
}
