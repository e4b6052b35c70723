// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct DispositionTests {
  let rig = Rig()

  @Test func `a shared context is ended once, by its last bearer`() {
    let tag = rig.tag()
    let packet = rig.tagged([(1, tag)])
    let copies = (0..<2).map { _ in rig.meet(packet.handle, at: .forward) }
    for bearer in copies + [packet] {
      #expect(rig.get(tag, bearer) == 1 && rig.counters.live == 1)
      rig.finish(bearer, .blocked)
    }
    #expect(rig.story() == ["duplicated_by_netio", "duplicated_by_netio", "blocked"])
    #expect(rig.counters.live == 0 && rig.counters.associated == 1)
  }

  @Test(
    arguments: [
      ([.dropped, .delivered, .transmitted], .delivered),
      ([.transmitted, .dropped, .dropped], .transmitted),
      ([.dropped, .dropped, .transmitted], .transmitted),
      ([.dropped, .released, .lost], .released), ([.lost, .lost, .dropped], .dropped),
      ([.delivered, .lost, .lost], .delivered),
    ] as [([RemovalReason], RemovalReason)])
  func `a shared context ends for the highest of its bearers' reasons`(
    ends: [RemovalReason], expected: RemovalReason
  ) {
    let packet = rig.tagged([(1, rig.tag())])
    let bearers = [packet] + (0..<2).map { _ in rig.meet(packet.handle, at: .forward) }
    for (bearer, reason) in zip(bearers, ends) { rig.finish(bearer, reason) }
    #expect(rig.story().last == expected.name)
  }

  @Test func `retrieving a shared context with removal acts for all bearers`() {
    let tag = rig.tag()
    let packet = rig.tagged([(1, tag)])
    let copy = rig.meet(packet.handle, at: .forward)
    #expect(rig.get(tag, copy, removing: true) == 1)
    #expect(rig.get(tag, packet) == nil)
    rig.finish(packet, .delivered)
    rig.finish(copy, .delivered)
    #expect(rig.story() == ["duplicated_by_netio", "removed_by_caller"])
    #expect(rig.table.resting.count == 1)
  }

  @Test func `a context that moves is found on the copy, the original reads as untagged`() {
    let tag = rig.tag(.move)
    let packet = rig.tagged([(1, tag)])
    rig.letGo(packet, from: .prerouting)
    let copy = rig.meet(packet.handle, at: .output)
    #expect(copy.handle != packet.handle && copy.handle != 0)
    #expect(rig.get(tag, copy) == 1)
    let original = rig.meet(packet.handle, at: .input)
    #expect(rig.get(tag, original) == nil && rig.table.tags(on: original.packet).isEmpty)
    rig.finish(copy, .transmitted)
    rig.finish(original, .delivered)
    #expect(rig.story() == ["duplicated_by_netio", "moved_to_clone", "transmitted"])
    #expect(rig.counters.associated == 2 && rig.counters.live == 0)
    #expect(rig.table.resting.count == 2)
  }

  @Test func `a tombstone stays until its packet is gone, and its copies bear nothing`() {
    let packet = rig.tagged([(1, rig.tag(.move))])
    _ = rig.meet(packet.handle, at: .output)
    #expect(rig.meet(packet.handle, at: .output).handle == 0)
    #expect(rig.table.slot(packet.handle) != nil)
    rig.finish(packet, .delivered)
    #expect(rig.table.slot(packet.handle) == nil)
  }

  @Test func `a detached copy bears nothing and the original keeps its context`() {
    let tag = rig.tag(.detach)
    let packet = rig.tagged([(1, tag)])
    let copy = rig.meet(packet.handle, at: .output)
    #expect(copy.handle == 0 && rig.get(tag, packet) == 1)
    rig.finish(packet, .delivered)
    #expect(rig.story() == ["duplicated_by_netio", "delivered"])
  }

  @Test func `a copy that can get no handle bears nothing and is counted`() {
    let rig = Rig(handles: 1)
    let tag = rig.tag(.move)
    let packet = rig.tagged([(1, tag)])
    #expect(rig.meet(packet.handle, at: .output).handle == 0)
    #expect(rig.get(tag, packet) == 1 && rig.counters.copiesDetached == 1)
  }

  @Test func `of a packet with all kinds of tags the copy shares one, takes one and leaves one`() {
    let (share, move, detach) = (rig.tag(), rig.tag(.move), rig.tag(.detach))
    let packet = rig.tagged([(1, share), (2, move), (3, detach)])
    let copy = rig.meet(packet.handle, at: .output)
    #expect([share, move, detach].map { rig.get($0, packet) } == [1, nil, 3])
    #expect([share, move, detach].map { rig.get($0, copy) } == [1, 2, nil])
    #expect(Set(rig.table.tags(on: copy.packet)) == [share, move])
    #expect(Set(rig.table.tags(on: packet.packet)) == [share, detach])
    _ = rig.events()
    rig.finish(packet, .delivered)
    #expect(rig.events().map(\.context) == [3])
    #expect(rig.get(share, copy) == 1)
    rig.finish(copy, .dropped)
    let ends = rig.events()
    #expect(ends.map(\.context) == [2, 1])
    #expect(ends.map(\.reason) == [.dropped, .delivered])
    #expect(rig.counters.live == 0 && rig.table.resting.count == 2)
  }

  @Test func `the copy of a copy shares what its elders share`() {
    let (share, move, detach) = (rig.tag(), rig.tag(.move), rig.tag(.detach))
    let packet = rig.tagged([(1, share), (2, move), (3, detach)])
    let child = rig.meet(packet.handle, at: .output)
    let grandchild = rig.meet(child.handle, at: .output)
    #expect(rig.get(share, grandchild) == 1 && rig.get(move, grandchild) == 2)
    #expect(rig.get(move, child) == nil && rig.get(share, child) == 1)
    for bearer in [packet, child] { rig.finish(bearer, .blocked) }
    #expect(rig.get(share, grandchild) == 1)
    rig.finish(grandchild, .transmitted)
    #expect(rig.counters.live == 0)
    #expect(rig.events().last?.reason == .transmitted)
  }

  @Test func `a context that was put on a copy is shared by the copy's copies`() {
    let (share, late) = (rig.tag(), rig.tag())
    let (move, detach) = (rig.tag(.move), rig.tag(.detach))
    let packet = rig.tagged([(1, share), (2, move), (3, detach)])
    let child = rig.meet(packet.handle, at: .output)
    #expect(rig.put(4, late, child) == nil)
    let grandchild = rig.meet(child.handle, at: .output)
    #expect(rig.get(late, grandchild) == 4 && rig.get(share, grandchild) == 1)
    #expect(rig.get(late, packet) == nil)
    rig.finish(packet, .delivered)
    rig.finish(child, .blocked)
    #expect(rig.get(late, grandchild) == 4)
    rig.finish(grandchild, .blocked)
    #expect(rig.counters.live == 0 && rig.table.resting.count == 3)
  }

  @Test func `every copy and every exit is told to the owner of a shared context`() {
    let (share, move) = (rig.tag(), rig.tag(.move))
    let packet = rig.tagged([(1, share), (2, move)])
    let child = rig.meet(packet.handle, at: .output)
    _ = rig.events()
    _ = rig.meet(child.handle, at: .output)
    #expect(
      Set(rig.events().filter { $0.kind == .duplicatedByNetIO }.map(\.context)) == [1, 2])
    rig.finish(child, .released, exits: true)
    #expect(rig.events().filter { $0.kind == .exitNetIO }.map(\.context) == [1])
    rig.table.noteClone(of: child.packet)
    #expect(rig.events().isEmpty)
  }

  @Test func `shared tags count among a packet's four`() {
    let shares = [rig.tag(), rig.tag()]
    let packet = rig.tagged([(1, shares[0]), (2, shares[1]), (3, rig.tag(.move))])
    let child = rig.meet(packet.handle, at: .output)
    #expect(rig.put(4, rig.tag(), child) == nil)
    #expect(rig.put(5, rig.tag(), child) == .tooManyTags)
    #expect(rig.put(6, shares[0], child) == .alreadyAssociated)
  }

  @Test func `what is not shared ends for the highest reason of its own bearers`() {
    let (share, detach) = (rig.tag(), rig.tag(.detach))
    let packet = rig.tagged([(1, share)])
    let twin = rig.meet(packet.handle, at: .output)
    #expect(rig.put(2, detach, packet) == nil)
    let child = rig.meet(packet.handle, at: .output)
    _ = rig.events()
    rig.finish(packet, .delivered)
    rig.finish(twin, .dropped)
    let ends = rig.events()
    #expect(ends.map(\.context) == [2] && ends.map(\.reason) == [.delivered])
    rig.finish(child, .dropped)
    #expect(rig.events().map(\.reason) == [.delivered])
  }

  @Test func `a context moved off a copy by a callout is gone for all who share it`() {
    let (share, move) = (rig.tag(), rig.tag(.move))
    let packet = rig.tagged([(1, share), (2, move)])
    let child = rig.meet(packet.handle, at: .output)
    let clone = rig.packet(isClone: true)
    #expect(rig.move(share, child, clone) == nil)
    #expect([packet, child, clone].map { rig.get(share, $0) } == [nil, nil, 1])
    #expect(rig.counters.live == 2)
  }
}
