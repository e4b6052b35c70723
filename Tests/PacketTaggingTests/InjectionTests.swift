// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

/// Handles that stand for injections.
@Suite struct InjectionTests {
  let rig = Rig()

  private func injected(_ packet: TestPacket? = nil, _ rig: Rig? = nil) throws -> TestPacket {
    let packet = packet ?? (rig ?? self.rig).packet(isClone: true)
    try (rig ?? self.rig).table.beginInjection(&packet.packet)
    return packet
  }

  @Test(arguments: Hook.allCases)
  func `what was injected is known wherever it is met first`(hook: Hook) throws {
    let packet = try injected()
    let met = rig.meet(packet.handle, at: hook)
    #expect(met.handle == packet.handle && rig.knows(met.handle))
    #expect(rig.counters.live == 0 && rig.counters.copies == 0)
    #expect(!rig.knows(0) && !rig.knows(rig.tagged([(1, rig.tag())]).handle))
  }

  @Test func `a clone's contexts are found where it is met, and their ends are told`() throws {
    let tag = rig.tag()
    let clone = rig.packet(isClone: true)
    _ = rig.put(7, tag, clone)
    _ = try injected(clone)
    let met = rig.meet(clone.handle, at: .prerouting)
    #expect(rig.get(tag, met) == 7 && rig.knows(met.handle))
    let isBorne = rig.table.release(met.handle, layer: met.packet.layer)
    #expect(isBorne && rig.story() == ["exit_netio", "released"] && rig.counters.live == 0)
    #expect(rig.knows(met.handle))
  }

  @Test func `removing the last context does not take what is known of the injection`() throws {
    let tag = rig.tag()
    let packet = try injected()
    let met = rig.meet(packet.handle, at: .prerouting)
    #expect(rig.put(7, tag, met) == nil && met.handle == packet.handle)
    #expect(rig.get(tag, met, removing: true) == 7)
    #expect(rig.knows(met.handle))
  }

  @Test func `an entry fills one cache line`() {
    #expect(MemoryLayout<ContextEntry>.stride == 64)
  }

  @Test func `copies of what was injected are known too`() throws {
    let packet = try injected()
    for _ in 0..<3 {
      #expect(rig.meet(packet.handle, at: .postrouting, isBridged: true).handle == packet.handle)
    }
    #expect(rig.counters.copies == 2)
  }

  @Test func `an injection that failed ends as dropped, one that is not met is swept`() throws {
    let rig = Rig(handles: 2)
    let tag = rig.tag()
    let clone = rig.packet(isClone: true)
    _ = rig.put(7, tag, clone)
    _ = try injected(clone, rig)
    rig.table.endInjection(clone.handle)
    #expect(rig.story() == ["dropped"] && !rig.knows(clone.handle))
    _ = try injected(nil, rig)
    #expect(rig.refusal { _ = try injected(nil, rig) } == .handlesExhausted)
    rig.advance(2100)
    rig.table.sweep()
    rig.advance(100)
    for _ in 0..<2 { _ = try injected(nil, rig) }
    #expect(rig.events().isEmpty)
  }

  @Test func `F11: what is kept until it is removed gives its handle back then`() {
    let rig = Rig(handles: 1)
    let tag = rig.tag()
    let packet = rig.tagged([(7, tag)])
    rig.table.depart(packet.handle, .anywhere)
    rig.table.keep(packet.handle)
    rig.advance(10_000)
    rig.table.sweep()
    #expect(rig.counters.live == 1 && rig.put(1, tag, rig.packet()) == .handlesExhausted)
    #expect(rig.table.removeAll(tag) == 1)
    rig.advance(2100)
    rig.table.sweep()
    rig.advance(100)
    #expect(rig.put(1, tag, rig.packet()) == nil)
    #expect(rig.story() == ["removed_by_caller"])
  }

  @Test func `what is kept until it is removed leaves room for others`() {
    let rig = Rig(handles: 8)
    let tag = rig.tag()
    for number in 0..<100 {
      let packet = rig.packet()
      guard rig.put(UInt64(number), tag, packet) == nil else { break }
      rig.table.depart(packet.handle, .anywhere)
      rig.table.keep(packet.handle)
    }
    rig.advance(10_000)
    rig.table.sweep()
    rig.advance(100)
    #expect(rig.counters.live == 4)
    #expect(rig.put(1, tag, rig.packet()) == nil)
    // Those that are removed make room for others to be kept.
    #expect(rig.table.removeAll(tag) == 5)
    rig.advance(10_000)
    rig.table.sweep()
    rig.advance(100)
    let last = rig.tagged([(7, tag)])
    rig.table.depart(last.handle, .anywhere)
    rig.table.keep(last.handle)
    rig.advance(10_000)
    rig.table.sweep()
    #expect(rig.counters.live == 1)
  }
}
