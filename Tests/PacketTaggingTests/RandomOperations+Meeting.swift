// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

extension RandomOperations {
  func meet() {
    guard held.count < 60, let hook = pick(Hook.allCases) else { return }
    let number =
      chance(8)
      ? UInt32.random(in: 1...UInt32(capacity), using: &random) : pick(model.handles.keys) ?? 1
    guard model.handles[number]?.isKept != true else { return }
    let flow = chance(10) ? 0x7777_8888 : Rig.flow
    let before = rig.counters
    let budget = capacity + 1 - Int(before.live) - rig.table.eventBacklog
    let packet = rig.meet(number, at: hook, flow: flow)
    let isLooping = packet.packet.isClone
    packet.packet.isClone = false
    held.append(packet)
    guard let handle = model.handles[number], handle.flow == flow else {
      #expect(packet.handle == 0)
      #expect(
        rig.counters.staleHandles + rig.counters.foreignFlows
          == before.staleHandles + before.foreignFlows + 1)
      return
    }
    handle.time = model.now
    if let departure = model.departure(handle, hook) {
      handle.roaming[departure, default: 0] -= 1
      #expect(rig.counters.copies == before.copies)
      return wait(handle, packet, isLooping)
    }
    #expect(rig.counters.copies == before.copies + 1)
    meetCopy(handle, packet, isLooping, budget: budget)
  }

  private func wait(_ handle: ModelHandle, _ packet: TestPacket, _ isLooping: Bool) {
    handle.waiting += 1
    handle.hops = min(255, handle.hops + 1)
    #expect(packet.handle == handle.number)
    #expect(isLooping == (handle.hops > 12))
  }

  private func meetCopy(
    _ handle: ModelHandle, _ packet: TestPacket, _ isLooping: Bool, budget: Int
  ) {
    let kinds = Set(handle.visible.map(\.association.tag.disposition))
    let own = Set(handle.own.map(\.tag.disposition))
    let shares = kinds.contains(.share) || handle.parent != nil
    if shares, own.isSubset(of: [.share]) { return wait(handle, packet, isLooping) }
    let moved = handle.own.filter { $0.tag.disposition == .move }
    guard shares || !moved.isEmpty else { return #expect(packet.handle == 0) }
    guard moved.count <= budget, packet.handle != 0 else {
      #expect(packet.handle == 0)
      #expect(moved.count > budget || !model.canOpen(capacity: capacity))
      return
    }
    adopt(packet, isKept: false)
    guard let copy = self.handle(packet) else { return }
    if shares {
      let parent = own.contains(.share) ? handle : handle.parent ?? handle
      copy.parent = parent
      parent.children += 1
    }
    copy.hops = min(255, handle.hops + 1)
    #expect(isLooping == (copy.hops > 12))
    for association in moved {
      model.add(association.tag, association.context, copy)
      model.end(association, of: handle, .movedToClone, .observed)
    }
  }

  func sweep() {
    rig.advance(UInt64.random(in: 0...1500, using: &random))
    model.now = rig.table.now
    rig.table.sweep(limit: 1000)
    followSweep()
  }

  /// Takes in what the sweeper ended, each of which it was allowed to end.
  private func followSweep() {
    var isChanged = true
    while isChanged {
      isChanged = false
      for handle in Array(model.handles.values) where rig.table.slot(handle.number) == nil {
        guard handle.isLive, handle.children == 0, handle.waiting == 0, !handle.isKept,
          model.now - handle.time >= 2_000_000_000
        else { continue }
        handle.roaming = [:]
        model.close(handle, .lost, .inferred)
        isChanged = true
      }
    }
  }

  /// False if table and model have parted.
  @discardableResult
  func check(_ packets: Int = .max) -> Bool {
    let agrees = rig.counters.live == UInt64(model.live)
    #expect(rig.counters.associated == UInt64(model.associated))
    #expect(rig.counters.ended == UInt64(model.ended))
    #expect(rig.counters.live == UInt64(model.live))
    #expect(rig.table.eventBacklog + Int(rig.counters.live) <= capacity + 1)
    for number in 1...UInt32(capacity) {
      let isLive = rig.table.slot(number) != nil
      if isLive != (model.handles[number] != nil) { Issue.record("handle \(number)") }
    }
    for packet in held.shuffled(using: &random).prefix(packets) {
      let visible = handle(packet)?.visible ?? []
      if rig.table.tags(on: packet.packet).count != visible.count { Issue.record("\(visible)") }
      for tag in tags {
        let context = visible.first { $0.association.tag == tag }?.association.context
        if rig.get(tag, packet) != context { Issue.record("\(packet.handle) \(tag)") }
      }
    }
    return agrees
  }

  /// Ends the traffic, then compares the whole stream with what must have been told.
  func conclude() {
    while !held.isEmpty {
      let isClone = held.allSatisfy(\.packet.isClone)
      isClone ? dropClone() : finish()
      if isClone { held.removeAll { $0.packet.isClone && $0.handle == 0 } }
      expected.append(model.ends)
      model.ends = []
    }
    for _ in 0..<5 {
      rig.advance(3000)
      model.now = rig.table.now
      rig.table.sweep(limit: 1000)
      followSweep()
      expected.append(model.ends)
      model.ends = []
    }
    check()
    #expect(rig.counters.live == 0 && model.handles.isEmpty)
    received += rig.events()
    #expect(
      UInt64(received.count) + rig.counters.eventsLost
        == (0..<16).reduce(0) { $0 + rig.counters.events[$1] })
    var told = received.filter { $0.kind == .contextRemoved }.map {
      ModelEnd(context: $0.context, reason: $0.reason, certainty: $0.certainty)
    }[...]
    #expect(told.count == model.associated)
    for batch in expected where !batch.isEmpty {
      let part = told.prefix(batch.count)
      told = told.dropFirst(batch.count)
      guard count(part) == count(batch[...]) else {
        Issue.record("told \(Array(part)), expected \(batch)")
        return
      }
    }
    var last: [UInt64: LifeEvent] = [:]
    for event in received { last[event.context] = event }
    #expect(last.values.allSatisfy { $0.kind == .contextRemoved })
  }

  private func count(_ ends: ArraySlice<ModelEnd>) -> [ModelEnd: Int] {
    ends.reduce(into: [:]) { $0[$1, default: 0] += 1 }
  }
}

@Suite struct ModelTests {
  @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64], [4, 4096])
  func `thousands of random operations agree with the reference model`(seed: UInt64, ring: Int) {
    let operations = RandomOperations(seed: seed, ring: ring, capacity: seed % 2 == 0 ? 24 : 200)
    for round in 0..<3000 {
      operations.step()
      guard operations.check(round % 50 == 0 ? .max : 4) else {
        Issue.record("parted in round \(round)")
        return
      }
    }
    operations.conclude()
  }
}
