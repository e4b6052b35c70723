// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct HandleTests {
  @Test func `when every handle is in use the next packet is refused and nothing changes`() {
    let rig = Rig(mask: 0xff)
    let tag = rig.tag()
    let packets = (0..<63).map { rig.tagged([($0, tag)]) }
    #expect(Set(packets.map(\.handle)) == Set(1...63))
    let late = rig.packet()
    #expect(rig.put(99, tag, late) == .handlesExhausted)
    #expect(late.handle == 0 && rig.get(tag, late) == nil)
    #expect(rig.counters.live == 63 && rig.counters.handlesRefused == 1)
    #expect(packets.enumerated().allSatisfy { rig.get(tag, $1) == UInt64($0) })
    #expect(rig.events().isEmpty)
  }

  @Test func `a negative number of handles is none`() {
    let rig = Rig(handles: -5)
    #expect(rig.put(1, rig.tag(), rig.packet()) != nil)
  }

  @Test func `an ended handle rests before it is used again, oldest first`() {
    let rig = Rig(mask: 0xff)
    let tag = rig.tag()
    let packets = (0..<63).map { rig.tagged([($0, tag)]) }
    for number in [5, 2, 9] {
      rig.finish(packets[number], .blocked)
      rig.advance(10)
    }
    rig.advance(19)
    #expect(rig.put(1, tag, rig.packet()) == .handlesExhausted)
    rig.advance(1)
    #expect(rig.tagged([(1, tag)]).handle == packets[5].handle)
    #expect(rig.put(1, tag, rig.packet()) == .handlesExhausted)
    rig.advance(1000)
    #expect(rig.tagged([(1, tag)]).handle == packets[2].handle)
    #expect(rig.tagged([(1, tag)]).handle == packets[9].handle)
  }

  @Test func `a rested handle comes before one that was never used`() {
    let rig = Rig()
    let tag = rig.tag()
    let first = rig.tagged([(1, tag)])
    rig.finish(first, .blocked)
    #expect(rig.tagged([(2, tag)]).handle != first.handle)
    rig.advance(50)
    #expect(rig.tagged([(3, tag)]).handle == first.handle)
  }

  @Test func `the table holds no more handles than the policy allows`() {
    let rig = Rig(handles: 5)
    let tag = rig.tag()
    for _ in 0..<5 { #expect(rig.put(1, tag, rig.packet()) == nil) }
    #expect(rig.put(1, tag, rig.packet()) == .handlesExhausted)
  }

  @Test(arguments: [1, 2, 3, 4, 7])
  func `every shard knows its own handles and those of no other`(shards: Int) {
    let rigs = (0..<shards).map { Rig(mask: 0x0fff_0000, shard: $0, shards: shards) }
    for (shard, rig) in rigs.enumerated() {
      let tag = rig.tag()
      for _ in 0..<20 {
        let handle = rig.tagged([(1, tag)]).handle
        let mark = rig.table.mark(0x8000_0001, bearing: handle)
        #expect(mark & ~0x0fff_0000 == 0x8000_0001)
        for (number, other) in rigs.enumerated() {
          #expect(other.table.shard(ofHandleIn: mark) == shard)
          let stranger = TestPacket()
          stranger.packet.handle = handle
          if number != shard {
            #expect(other.table.slot(handle) == nil)
            #expect(other.get(tag, stranger) == nil)
          }
        }
      }
    }
  }

  @Test func `a handle of an earlier run is read as untagged and counted`() {
    let rig = Rig(epoch: true)
    let packet = rig.tagged([(1, rig.tag())])
    rig.letGo(packet, from: .prerouting)
    let mark = rig.table.mark(0, bearing: packet.handle)
    let old = Rig().table.mark(0, bearing: packet.handle)
    #expect(mark != old)
    #expect(rig.table.shard(ofHandleIn: old) == nil)
    let encounter = rig.table.meet(
      Arrival(
        mark: old, id: 9, place: HookSet(.input), layer: 12, fingerprint: Rig.flow, isBridged: false
      ))
    guard case .untagged = encounter else {
      Issue.record("met as \(encounter)")
      return
    }
    #expect(rig.counters.staleHandles == 1)
    #expect(rig.meet(packet.handle, at: .input).handle == packet.handle)
  }

  @Test func `a handle that has ended is read as untagged and counted`() {
    let rig = Rig()
    let packet = rig.tagged([(1, rig.tag())])
    rig.finish(packet, .blocked)
    #expect(rig.meet(packet.handle, at: .input).handle == 0)
    #expect(rig.meet(packet.handle + 40, at: .input).handle == 0)
    #expect(rig.counters.staleHandles == 2)
    #expect(rig.meet(0, at: .input).handle == 0)
    #expect(rig.counters.staleHandles == 2)
  }

  @Test func `the injected bit alone is no handle and not counted`() {
    let rig = Rig()
    let mark = rig.table.mark(0, bearing: 0, injected: true)
    _ = rig.table.meet(
      Arrival(
        mark: mark, id: 9, place: HookSet(.output), layer: 16, fingerprint: 0, isBridged: false))
    #expect(rig.counters.staleHandles == 0)
  }

  @Test
  func `a handle on another flow is read as untagged, on a flow of one changed side it counts`() {
    let rig = Rig()
    let tag = rig.tag()
    for (flow, isKnown) in [
      (0x3333_4444, false), (0x2222_1111, false), (0x1111_4444, true), (0x3333_2222, true),
      (0, true),
    ] as [(UInt32, Bool)] {
      let packet = rig.tagged([(1, tag)])
      rig.letGo(packet, from: .prerouting)
      #expect((rig.meet(packet.handle, at: .input, flow: flow).handle == packet.handle) == isKnown)
    }
    #expect(rig.counters.foreignFlows == 2)
  }

  @Test func `a rewritten flow is known at the next hook`() {
    let rig = Rig()
    let packet = rig.tagged([(1, rig.tag())])
    rig.table.changeFingerprint(packet.handle, to: 0x7777_8888)
    rig.letGo(packet, from: .output)
    #expect(rig.meet(packet.handle, at: .postrouting).handle == 0)
    #expect(rig.meet(packet.handle, at: .postrouting, flow: 0x7777_8888).handle == packet.handle)
  }
}
