// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

@Suite struct AssociationTests {
  let rig = Rig()

  @Test(arguments: [0, 1, UInt64.max])
  func `F3: every 64-bit context comes back as it was given`(context: UInt64) {
    let tag = rig.tag()
    let packet = rig.tagged([(context, tag)])
    #expect(rig.get(tag, packet) == context)
    rig.letGo(packet, from: .prerouting)
    let later = rig.meet(packet.handle, at: .input)
    #expect(rig.get(tag, later) == context)
    rig.finish(later, .delivered)
    #expect(rig.events().last?.context == context)
  }

  @Test func `F4: flags must be 0 and the layer is told in the event`() {
    let tag = rig.tag()
    let packet = rig.packet(layer: .outboundTransportV6)
    #expect(rig.put(1, tag, packet, flags: 1) == .invalidFlags)
    #expect(packet.handle == 0)
    #expect(rig.put(1, tag, packet) == nil)
    #expect(
      rig.refusal { _ = try rig.table.retrieve(tag, from: &packet.packet, flags: 2) }
        == .invalidFlags)
    rig.table.finish(
      packet.handle, .released, layer: Layer.outboundIPPacketV6.rawValue)
    let event = rig.events().last
    #expect(event?.associatedAt == Layer.outboundTransportV6.rawValue)
    #expect(event?.layer == Layer.outboundIPPacketV6.rawValue)
  }

  @Test func `F5: one notify function serves three tags, each event names its own`() {
    rig.table.isWatched = false
    rig.table.registeredNotifies = 1
    let tags = (0..<3).map { _ in rig.tag() }
    for round in 0..<6 {
      let packet = rig.packet()
      for tag in tags.prefix(round % 3 + 1) { #expect(rig.put(9, tag, packet, notify: 1) == nil) }
      rig.finish(packet, .blocked)
    }
    let events = rig.events()
    #expect(events.allSatisfy { $0.notify.rawValue == 1 })
    #expect(tags.map { tag in events.filter { $0.tag == tag }.count } == [6, 4, 2])
  }

  @Test func `an association without a notify function makes no event when nobody watches`() {
    rig.table.isWatched = false
    rig.finish(rig.tagged([(1, rig.tag())]), .blocked)
    #expect(rig.ring.pop() == nil)
    #expect(rig.counters.count(.contextRemoved) == 1 && rig.counters.eventsLost == 0)
  }

  @Test func `F7: retrieving leaves the context`() {
    let tag = rig.tag()
    let packet = rig.tagged([(42, tag)])
    #expect(rig.get(tag, packet) == 42)
    #expect(rig.get(tag, packet) == 42)
    #expect(rig.counters.live == 1)
    #expect(rig.events().isEmpty)
  }

  @Test func `F8: retrieving with removal detaches, and the handle is let go once`() {
    let tag = rig.tag()
    let packet = rig.tagged([(42, tag)])
    let handle = packet.handle
    #expect(rig.get(tag, packet, removing: true) == 42)
    #expect(packet.handle == 0)
    #expect(rig.table.slot(handle) == nil && rig.table.resting.count == 1)
    packet.packet.handle = handle
    #expect(
      rig.refusal { _ = try rig.table.retrieve(tag, from: &packet.packet, removing: true) }
        == .notFound)
    #expect(rig.story() == ["removed_by_caller"])
    #expect(rig.table.resting.count == 1)
  }

  @Test func `F9: a removed context gives exactly one event, which comes after the call`() {
    let (first, second) = (rig.tag(), rig.tag())
    let packet = rig.tagged([(1, first), (2, second)])
    rig.advance(1)
    #expect(rig.get(first, packet, removing: true) == 1)
    #expect(rig.get(first, packet) == nil && rig.get(second, packet) == 2)
    rig.finish(packet, .delivered)
    let events = rig.events()
    #expect(events.map(\.context) == [1, 2])
    #expect(events.map(\.reason) == [.removedByCaller, .delivered])
    #expect(events.allSatisfy { $0.kind == .contextRemoved && $0.certainty == .exact })
  }

  @Test func `F10: removing a tag from 1,000 held packets leaves other tags alone`() {
    let (gone, kept) = (rig.tag(), rig.tag())
    let packets = (0..<1000).map { rig.tagged([(UInt64($0), gone), (UInt64($0) + 5000, kept)]) }
    #expect(rig.table.removeAll(gone) == 1000)
    let events = rig.events()
    #expect(Set(events.map(\.context)) == Set(0..<1000))
    #expect(events.count == 1000 && events.allSatisfy { $0.reason == .removedByCaller })
    for (number, packet) in packets.enumerated() {
      #expect(rig.get(gone, packet) == nil && rig.get(kept, packet) == UInt64(number) + 5000)
    }
    #expect(rig.counters.live == 1000)
    #expect(rig.table.removeAll(gone) == 0)
  }

  @Test func `F11: the context of a packet that comes to no end stays until it is removed`() {
    let tag = rig.tag()
    for number in 0..<50 { _ = rig.tagged([(UInt64(number), tag)]) }
    rig.advance(600_000)
    rig.table.sweep(limit: 10_000)
    #expect(rig.counters.live == 50 && rig.events().isEmpty)
    #expect(rig.table.removeAll(tag, reason: .ownerGone) == 50)
    #expect(rig.counters.live == 0 && rig.events().allSatisfy { $0.reason == .ownerGone })
  }

  @Test func `F23: a stream layer takes no tags`() {
    for layer in [Layer.streamV4, .streamV6] {
      let packet = rig.packet(layer: layer)
      #expect(rig.put(1, rig.tag(), packet) == .layerHasNoPackets)
      #expect(packet.handle == 0)
    }
    let nowhere = rig.packet()
    nowhere.packet.layer = 999
    #expect(rig.put(1, rig.tag(), nowhere) == .layerHasNoPackets)
    #expect(rig.counters.associated == 0)
  }

  @Test func `a second context under the same tag is refused and the first stays`() {
    let tag = rig.tag()
    let packet = rig.tagged([(1, tag)])
    #expect(rig.put(2, tag, packet) == .alreadyAssociated)
    #expect(rig.get(tag, packet) == 1 && rig.counters.associated == 1)
  }

  @Test func `a notify function that was never registered is refused`() {
    rig.table.registeredNotifies = 2
    let packet = rig.packet()
    #expect(rig.put(1, rig.tag(), packet, notify: 3) == .unknownNotify)
    #expect(packet.handle == 0)
    #expect(rig.put(1, rig.tag(), packet, notify: 2) == nil)
  }

  @Test func `without a mark field nothing can be tagged`() {
    let off = Rig(mask: nil)
    let packet = off.packet()
    #expect(off.put(1, off.tag(), packet) == .markOff)
    #expect(off.table.mark(0x1234_5678, bearing: 9) == 0x1234_5678)
    #expect(off.table.shard(ofHandleIn: .max) == nil)
    #expect(off.meet(77, at: .input).handle == 0)
  }

  @Test func `a packet takes four tags, refuses a fifth, and gives them back in every order`() {
    for order in permutations([0, 1, 2, 3]) {
      let tags = (0..<4).map { _ in rig.tag() }
      let packet = rig.packet()
      for (number, tag) in tags.enumerated() {
        #expect(rig.put(UInt64(number), tag, packet) == nil)
      }
      #expect(rig.put(4, rig.tag(), packet) == .tooManyTags)
      #expect(Set(rig.table.tags(on: packet.packet)) == Set(tags))
      var left = Set(order)
      for number in order {
        #expect(rig.get(tags[number], packet, removing: true) == UInt64(number))
        left.remove(number)
        for other in 0..<4 {
          #expect(rig.get(tags[other], packet) == (left.contains(other) ? UInt64(other) : nil))
        }
      }
      #expect(packet.handle == 0)
      #expect(rig.events().map(\.context) == order.map { UInt64($0) })
    }
    #expect(rig.counters.live == 0)
  }

  @Test func `a removed tag makes room for another`() {
    let tags = (0..<4).map { _ in rig.tag() }
    let packet = rig.tagged(tags.map { (1, $0) })
    _ = rig.get(tags[2], packet, removing: true)
    let fifth = rig.tag()
    #expect(rig.put(5, fifth, packet) == nil)
    #expect(rig.get(fifth, packet) == 5)
    #expect(rig.put(6, rig.tag(), packet) == .tooManyTags)
  }

  private func permutations(_ items: [Int]) -> [[Int]] {
    guard let last = items.last else { return [[]] }
    return permutations(Array(items.dropLast())).flatMap { shorter in
      (0...shorter.count).map { Array(shorter[..<$0]) + [last] + Array(shorter[$0...]) }
    }
  }
}
