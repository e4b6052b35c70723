// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PacketTagging

/// SplitMix64: the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}

/// Drives a table and its model with the same random operations.
final class RandomOperations {
  let rig: Rig
  let model = ReferenceModel()
  let tags: [ContextTag]
  let capacity: Int
  var random: SeededGenerator
  /// Packets that a worker or a callout holds.
  var held: [TestPacket] = []
  var nextContext: UInt64 = 0
  var received: [LifeEvent] = []
  var expected: [[ModelEnd]] = []

  init(seed: UInt64, ring: Int, capacity: Int) {
    let rig = Rig(ring: ring, handles: capacity, hops: 12)
    self.rig = rig
    self.capacity = capacity
    random = SeededGenerator(state: seed)
    tags = CopyDisposition.allCases.flatMap { [rig.tag($0), rig.tag($0)] }
    model.now = rig.table.now
  }

  func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }
  func pick<Element>(_ items: some Collection<Element>) -> Element? {
    items.randomElement(using: &random)
  }
  func handle(_ packet: TestPacket) -> ModelHandle? { model.handles[packet.handle] }
  var budgetIsLeft: Bool { Int(rig.counters.live) + rig.table.eventBacklog <= capacity }

  func step() {
    switch Int.random(in: 0..<24, using: &random) {
    case 0..<4: associate()
    case 4, 5: retrieve()
    case 6..<9: letGo()
    case 9..<13: meet()
    case 13..<16: finish()
    case 16: makeClone()
    case 17: dropClone()
    case 18: moveOrCopy()
    case 19: if chance(6) { removeAll() }
    case 20: repeatHook()
    case 21: sweep()
    case 22: received += Array(rig.events())
    default:
      rig.advance(UInt64.random(in: 0...40, using: &random))
      model.now = rig.table.now
    }
    expected.append(model.ends)
    model.ends = []
  }

  func adopt(_ packet: TestPacket, isKept: Bool) {
    #expect(model.mayOpen(packet.handle), "handle \(packet.handle) is not free")
    let handle = model.open(packet.handle, flow: packet.packet.fingerprint)
    if isKept {
      handle.isKept = true
      handle.roaming[.anywhere] = 1
    } else {
      handle.waiting = 1
    }
  }

  /// What associating must answer, before it is done.
  func refusal(_ tag: ContextTag, _ packet: TestPacket) -> TaggingError? {
    guard budgetIsLeft else { return .handlesExhausted }
    guard let handle = handle(packet) else {
      return model.canOpen(capacity: capacity) ? nil : .handlesExhausted
    }
    if handle.find(tag) != nil { return .alreadyAssociated }
    return handle.visible.count >= 4 ? .tooManyTags : nil
  }

  func noteAssociated(_ tag: ContextTag, _ context: UInt64, _ packet: TestPacket) {
    if handle(packet) == nil { adopt(packet, isKept: packet.packet.isClone) }
    if let handle = handle(packet) { model.add(tag, context, handle) }
  }

  func associate() {
    if held.count < 40, chance(2) { held.append(rig.packet()) }
    guard let packet = pick(held), let tag = pick(tags) else { return }
    nextContext += 1
    let expected = refusal(tag, packet)
    #expect(rig.put(nextContext, tag, packet) == expected)
    if expected == nil { noteAssociated(tag, nextContext, packet) }
  }

  func retrieve() {
    guard let packet = pick(held), let tag = pick(tags) else { return }
    let removing = chance(2)
    let found = handle(packet)?.find(tag)
    let before = handle(packet)
    #expect(rig.get(tag, packet, removing: removing) == found?.association.context)
    guard removing, let found, let before else { return }
    model.end(found.association, of: found.holder, .removedByCaller, .exact)
    let isClosed = model.closeIfBare(before, isClone: packet.packet.isClone)
    #expect((packet.handle == 0) == isClosed)
  }

  func letGo() {
    guard let index = held.indices.randomElement(using: &random) else { return }
    let packet = held[index]
    guard !packet.packet.isClone else { return }
    held.remove(at: index)
    let departure = Departure(rawValue: Int.random(in: 0..<7, using: &random)) ?? .anywhere
    rig.table.depart(packet.handle, departure)
    if let handle = handle(packet) { model.depart(handle, departure) }
  }

  func finish() {
    guard let index = held.indices.randomElement(using: &random) else { return }
    let packet = held[index]
    guard !packet.packet.isClone else { return }
    held.remove(at: index)
    let reasons: [RemovalReason] = [.blocked, .released, .delivered, .transmitted, .queueFlushed]
    let reason = pick(reasons) ?? .blocked
    rig.finish(packet, reason, exits: chance(2))
    if let handle = handle(packet) { model.finish(handle, reason, .exact) }
  }

  func makeClone() {
    guard let packet = pick(held) else { return }
    rig.table.noteClone(of: packet.packet)
    held.append(rig.packet(isClone: true))
  }

  func dropClone() {
    guard let index = held.indices.filter({ held[$0].packet.isClone }).randomElement(using: &random)
    else { return }
    let clone = held.remove(at: index)
    guard let handle = handle(clone) else { return }
    if chance(2) {
      rig.table.noteSent(clone: clone.handle)
      handle.isKept = false
      handle.time = model.now
    } else {
      rig.table.free(clone: clone.handle)
      model.close(handle, .removedByCaller, .exact)
    }
  }

  func moveOrCopy() {
    guard let from = pick(held), let to = pick(held), let tag = pick(tags), from !== to else {
      return
    }
    let moves = chance(2)
    let source = handle(from)
    let found = source?.find(tag)
    let expected = found == nil ? .notFound : refusal(tag, to)
    #expect((moves ? rig.move(tag, from, to) : rig.copy(tag, from, to)) == expected)
    guard expected == nil, let found, let source else { return }
    noteAssociated(tag, found.association.context, to)
    guard moves else { return }
    model.end(found.association, of: found.holder, .movedToClone, .exact)
    #expect((from.handle == 0) == model.closeIfBare(source, isClone: from.packet.isClone))
  }

  func removeAll() {
    guard let tag = pick(tags) else { return }
    let all = model.handles.values.flatMap { handle in
      handle.own.filter { $0.tag == tag }.map { (handle, $0) }
    }
    #expect(rig.table.removeAll(tag) == all.count)
    for (handle, association) in all {
      model.end(association, of: handle, .removedByCaller, .exact)
    }
  }

  func repeatHook() {
    guard let packet = pick(held), !packet.packet.isClone, let hook = pick(Hook.allCases)
    else { return }
    let couldOpen = handle(packet) != nil || model.canOpen(capacity: capacity)
    let counted = rig.table.countRepeat(&packet.packet, at: hook, limit: 4)
    guard couldOpen else { return #expect(!counted) }
    if handle(packet) == nil { adopt(packet, isKept: false) }
    guard let handle = handle(packet) else { return }
    if handle.repeats.hook != hook { handle.repeats = (hook, 0) }
    #expect(counted == (handle.repeats.count < 4))
    if counted { handle.repeats.count += 1 }
  }
}
