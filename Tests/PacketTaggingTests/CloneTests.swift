// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct CloneTests {
  let rig = Rig()

  @Test func `F17: cloning raises one event for each context and the clone bears none`() {
    let tags = [rig.tag(), rig.tag()]
    let packet = rig.tagged([(1, tags[0]), (2, tags[1])])
    rig.table.noteClone(of: packet.packet)
    let clone = rig.packet(isClone: true)
    #expect(rig.story() == ["cloned_via_api", "cloned_via_api"])
    #expect(tags.allSatisfy { rig.get($0, clone) == nil } && clone.handle == 0)
  }

  @Test func `F19: a moved context is gone from the original, one association lives`() {
    let tag = rig.tag()
    let packet = rig.tagged([(7, tag)])
    let clone = rig.packet(isClone: true)
    #expect(rig.move(tag, packet, clone) == nil)
    #expect(rig.get(tag, packet) == nil && rig.get(tag, clone) == 7)
    #expect(rig.counters.live == 1 && packet.handle == 0)
    let events = rig.events()
    #expect(events.map(\.reason) == [.movedToClone])
    #expect(events.first?.otherHandle == clone.handle)
  }

  @Test func `F20: a copied context is found on both, two associations live`() {
    let tag = rig.tag()
    let packet = rig.tagged([(7, tag)])
    let clone = rig.packet(isClone: true)
    #expect(rig.copy(tag, packet, clone) == nil)
    #expect(rig.get(tag, packet) == 7 && rig.get(tag, clone) == 7)
    #expect(rig.counters.live == 2 && packet.handle != clone.handle)
    rig.finish(packet, .delivered)
    rig.table.free(clone: clone.handle)
    #expect(rig.story() == ["delivered", "removed_by_caller"])
  }

  @Test func `moving or copying what is not there, or onto itself, is refused`() {
    let tag = rig.tag()
    let (packet, clone) = (rig.tagged([(7, tag)]), rig.packet(isClone: true))
    #expect(rig.move(rig.tag(), packet, clone) == .notFound)
    #expect(rig.copy(rig.tag(), packet, clone) == .notFound)
    #expect(rig.move(tag, rig.packet(), clone) == .notFound)
    let other = rig.tagged([(8, tag)])
    #expect(rig.move(tag, packet, other) == .alreadyAssociated)
    #expect(rig.copy(tag, packet, other) == .alreadyAssociated)
    #expect(rig.get(tag, packet) == 7 && rig.get(tag, other) == 8 && clone.handle == 0)
  }

  @Test func `a move onto a full packet or into a full table changes nothing`() {
    let rig = Rig(handles: 2)
    let tag = rig.tag()
    let packet = rig.tagged([(7, tag)])
    _ = rig.tagged([(8, tag)])
    let clone = rig.packet(isClone: true)
    #expect(rig.move(tag, packet, clone) == .handlesExhausted)
    #expect(rig.copy(tag, packet, clone) == .handlesExhausted)
    #expect(rig.get(tag, packet) == 7 && clone.handle == 0 && rig.counters.live == 2)
    #expect(rig.events().isEmpty)
  }

  @Test func `a freed clone ends what it bears, a second freeing does nothing`() {
    let tag = rig.tag()
    let clone = rig.packet(isClone: true)
    #expect(rig.put(7, tag, clone) == nil)
    rig.table.free(clone: clone.handle)
    rig.table.free(clone: clone.handle)
    #expect(rig.story() == ["removed_by_caller"] && rig.counters.live == 0)
  }

  @Test(arguments: Hook.allCases)
  func `a sent clone is met at any hook as the one that was sent`(hook: Hook) {
    let tag = rig.tag()
    let clone = rig.packet(isClone: true)
    _ = rig.put(7, tag, clone)
    rig.table.noteSent(clone: clone.handle)
    let met = rig.meet(clone.handle, at: hook)
    #expect(rig.get(tag, met) == 7 && rig.counters.copies == 0)
    rig.finish(met, .released, exits: true)
    #expect(rig.story() == ["exit_netio", "released"])
  }

  @Test func `a clone that was sent and never met is lost`() {
    let clone = rig.packet(isClone: true)
    _ = rig.put(7, rig.tag(), clone)
    rig.table.noteSent(clone: clone.handle)
    rig.advance(2001)
    rig.table.sweep()
    #expect(rig.story() == ["lost"])
  }

  @Test func `a clone that a callout keeps is not swept, on whatever handle`() {
    let tag = rig.tag()
    let packet = rig.tagged([(1, tag)])
    rig.letGo(packet, from: .prerouting)
    rig.finish(rig.meet(packet.handle, at: .input), .delivered)
    rig.advance(60)
    let clone = rig.packet(isClone: true)
    _ = rig.put(7, tag, clone)
    #expect(clone.handle == packet.handle)
    for _ in 0..<5 {
      rig.advance(3000)
      rig.table.sweep()
    }
    #expect(rig.get(tag, clone) == 7)
    rig.table.noteSent(clone: clone.handle)
    for _ in 0..<3 {
      rig.advance(2001)
      rig.table.sweep()
    }
    #expect(rig.counters.live == 0)
  }

  @Test func `a clone whose last context is taken gives its handle back`() {
    let tag = rig.tag()
    let clone = rig.packet(isClone: true)
    _ = rig.put(7, tag, clone)
    let handle = clone.handle
    #expect(rig.get(tag, clone, removing: true) == 7)
    #expect(clone.handle == 0 && rig.table.slot(handle) == nil)
  }
}
