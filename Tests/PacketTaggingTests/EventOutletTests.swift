// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct EventOutletTests {
  @Test func `terminal events wait for room and come in order`() {
    let rig = Rig(ring: 4)
    let packets = (0..<20).map { rig.tagged([($0, rig.tag())]) }
    for packet in packets { rig.finish(packet, .blocked) }
    #expect(rig.table.eventBacklog == 16 && rig.counters.eventsLost == 0)
    #expect(rig.publish())
    var contexts: [UInt64] = []
    while let event = rig.ring.pop() {
      contexts.append(event.context)
      _ = rig.table.publishEvents()
    }
    #expect(contexts == Array(0..<20))
    #expect(rig.table.eventBacklog == 0)
    #expect(!rig.publish())
  }

  @Test func `other events are lost and counted when the stream is full`() {
    let rig = Rig(ring: 2)
    let packets = (0..<5).map { rig.tagged([($0, rig.tag())]) }
    for packet in packets { rig.finish(packet, .released, exits: true) }
    #expect(rig.counters.eventsLost == 4)
    #expect(rig.events().filter { $0.kind == .contextRemoved }.map(\.context) == [0, 1, 2, 3, 4])
    rig.table.noteClone(of: rig.tagged([(9, rig.tag())]).packet)
    #expect(rig.story() == ["cloned_via_api"])
  }

  @Test func `an event that fits does not overtake those that wait`() {
    let rig = Rig(ring: 2)
    for number in 0..<4 { rig.finish(rig.tagged([(UInt64(number), rig.tag())]), .blocked) }
    _ = rig.ring.pop()
    rig.table.noteClone(of: rig.tagged([(50, rig.tag())]).packet)
    rig.finish(rig.tagged([(4, rig.tag())]), .blocked)
    #expect(rig.counters.eventsLost == 1)
    #expect(rig.events().map(\.context) == [1, 2, 3, 4])
  }

  @Test func `handles are refused while terminal events wait for room`() {
    let rig = Rig(ring: 2, handles: 8)
    let tag = rig.tag()
    var ended = 0
    for number in 0..<40 {
      rig.advance(60)
      let packet = rig.packet()
      guard rig.put(UInt64(number), tag, packet) == nil else { continue }
      rig.finish(packet, .blocked)
      ended += 1
    }
    #expect(ended < 40 && rig.counters.handlesRefused == UInt64(40 - ended))
    #expect(rig.table.eventBacklog <= 9)
    #expect(rig.events().count == ended)
    #expect(rig.put(1, tag, rig.packet()) == nil)
  }

  @Test func `copies do not outgrow the places of terminal events`() {
    let rig = Rig(ring: 2, handles: 8)
    let tag = rig.tag(.move)
    var packet = rig.tagged([(1, tag)])
    for _ in 0..<40 {
      rig.advance(60)
      let copy = rig.meet(packet.handle, at: .output)
      guard copy.handle != 0 else { continue }
      rig.finish(packet, .blocked)
      packet = copy
    }
    #expect(rig.table.eventBacklog <= 9 && rig.counters.copiesDetached > 0)
    #expect(rig.get(tag, packet) == 1)
    rig.finish(packet, .delivered)
    #expect(rig.events().filter { $0.kind == .contextRemoved }.count == Int(rig.counters.ended))
  }
}
