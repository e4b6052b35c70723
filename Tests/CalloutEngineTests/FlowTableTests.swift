// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

private func key(_ number: Int, reversed: Bool = false) -> FlowKey {
  let (near, far) = (IPAddress(10, 0, 0, 1), IPAddress(10, 0, UInt8(number >> 8 & 255), 2))
  let port = UInt16(1000 + number & 255)
  return reversed
    ? FlowKey(far, near, .udp, sourcePort: 53, destinationPort: port)
    : FlowKey(near, far, .udp, sourcePort: port, destinationPort: 53)
}

private let layer = Layer.inboundTransportV4.rawValue

@Suite struct FlowTableTests {
  @Test func `Both directions are one flow, and another port or protocol is another`() throws {
    let there = try PacketLayout(
      parsing: Make.ipv4(6, from: [10, 0, 0, 9], to: [10, 0, 0, 1], source: 4000, target: 80)
        .span.packetBytes)
    let back = try PacketLayout(
      parsing: Make.ipv4(6, from: [10, 0, 0, 1], to: [10, 0, 0, 9], source: 80, target: 4000)
        .span.packetBytes)
    let other = try PacketLayout(
      parsing: Make.ipv4(17, from: [10, 0, 0, 1], to: [10, 0, 0, 9], source: 80, target: 4000)
        .span.packetBytes)
    #expect(FlowKey(there) != nil && FlowKey(there) == FlowKey(back))
    #expect(FlowKey(there) != FlowKey(other))
    let fragment = try PacketLayout(
      parsing: Make.ipv4(17, offset: 64, data: [1, 2, 3, 4, 5, 6, 7, 8]).span.packetBytes)
    #expect(FlowKey(fragment) == nil)
    // An ICMP error is of no flow of its own.
    let error = try PacketLayout(parsing: Make.ipv4(1, source: 3, target: 1).span.packetBytes)
    #expect(FlowKey(error) == nil)
    // Equal ports and addresses on both sides are told apart by nothing, and need not be.
    let same = IPAddress(10, 0, 0, 1)
    #expect(
      FlowKey(same, same, .udp, sourcePort: 1, destinationPort: 2)
        == FlowKey(same, same, .udp, sourcePort: 2, destinationPort: 1))
  }

  @Test func `Flows are found until they end, and a full table refuses more`() {
    var table = FlowTable(capacity: 300)
    var places: [Int32] = []
    for number in 0..<300 { places.append(table.meet(key(number), at: 1)) }
    #expect(Set(places).count == 300 && !places.contains(-1))
    #expect(table.meet(key(300), at: 1) == -1)
    #expect(table.refused == 1)
    for number in 0..<300 { #expect(table.find(key(number, reversed: true)) == places[number]) }
    let reference = table.reference(places[7])
    let before = table[places[7]].id
    table.end(places[7])
    #expect(table.find(key(7)) == -1 && table.find(reference) == -1 && table.count == 299)
    for number in 0..<300 where number != 7 { #expect(table.find(key(number)) == places[number]) }
    let again = table.meet(key(7), at: 2)
    #expect(again >= 0 && table[again].id != before)
    #expect(table.find(reference) == -1)
    // Ending twice is ending once.
    table.end(again)
    table.end(again)
    #expect(table.count == 299)
  }

  @Test func `F68: one context for each callout and layer`() throws {
    var table = FlowTable(capacity: 4)
    let flow = table.meet(key(1), at: 1)
    #expect(throws: FlowError.invalidParameter) { try table.associate(0, flow, 1, layer) }
    #expect(throws: FlowError.noFlow) { try table.associate(5, -1, 1, layer) }
    #expect(throws: FlowError.unsuccessful) { try table.remove(flow, 1, layer) }
    try table.associate(5, flow, 1, layer)
    #expect(throws: FlowError.objectNameExists) { try table.associate(6, flow, 1, layer) }
    try table.associate(7, flow, 2, layer)
    try table.associate(8, flow, 1, layer + 2)
    #expect(table.context(flow, 1, layer) == 5)
    #expect(table.context(flow, 2, layer) == 7)
    #expect(table.context(flow, 1, layer + 2) == 8)
    #expect(table.context(flow, 3, layer) == 0 && table.context(-1, 1, layer) == 0)
    #expect(table.contexts == 3 && table.contexts(of: 1) == 2)
    #expect(table.deletions.isEmpty)
    try table.remove(flow, 1, layer)
    #expect(
      table.deletions == [FlowDeletion(callout: 1, layer: .inboundTransportV4, context: 5)])
    #expect(table.context(flow, 1, layer) == 0)
    try table.associate(9, flow, 1, layer)
    table.deletions = []
    table.end(flow)
    #expect(Set(table.deletions.map(\.context)) == [7, 8, 9] && table.deletions.count == 3)
    #expect(table.contexts == 0)
    table.end(flow)
    #expect(table.deletions.count == 3)
  }

  @Test func `The room for contexts is reused, and refuses when it is full`() throws {
    var table = FlowTable(capacity: 2)
    let flow = table.meet(key(1), at: 1)
    for _ in 0..<100 {
      for callout in 0..<4 as Range<Int32> { try table.associate(1, flow, callout, layer) }
      #expect(throws: FlowError.tooManyContexts) { try table.associate(1, flow, 9, layer) }
      table.removeAll(of: 2)
      #expect(table.contexts == 3 && table.deletions.map(\.callout) == [2])
      table.end(flow)
      #expect(table.deletions.count == 4)
      table.deletions = []
      #expect(table.meet(key(1), at: 1) == flow)
    }
  }

  @Test func `Callouts that get other numbers keep their contexts, those that go lose them`() throws
  {
    var table = FlowTable(capacity: 4)
    let flow = table.meet(key(1), at: 1)
    try table.associate(10, flow, 0, layer)
    try table.associate(11, flow, 1, layer)
    #expect(table.count(flow, 1) == 1 && table.count(flow, 1) == 2)
    table.renumber { $0 == 0 ? nil : 0 }
    #expect(table.context(flow, 0, layer) == 11)
    #expect(table.deletions == [FlowDeletion(callout: 0, layer: .inboundTransportV4, context: 10)])
    #expect(table.count(flow, 0) == 3)
    #expect(table.contexts == 1)
  }

  @Test func `Random use never loses or doubles a context`() throws {
    var generator = SeededGenerator(state: 7)
    var table = FlowTable(capacity: 32)
    var model: [Int: [UInt32: UInt64]] = [:]
    var (next, told) = (UInt64(1), Set<UInt64>())
    var live: Set<UInt64> = []
    for _ in 0..<20_000 {
      let number = Int.random(in: 0..<40, using: &generator)
      switch Int.random(in: 0..<10, using: &generator) {
      case 0:
        let place = table.find(key(number))
        table.end(place)
        for context in (model[number] ?? [:]).values { live.remove(context) }
        model[number] = nil
      case 1...3:
        let place = table.find(key(number))
        let callout = UInt32.random(in: 0..<3, using: &generator)
        let holds = model[number]?[callout] != nil
        if (try? table.remove(place, Int32(callout), layer)) != nil {
          #expect(holds)
          if let context = model[number]?.removeValue(forKey: callout) { live.remove(context) }
        } else {
          #expect(!holds)
        }
      default:
        let place = table.meet(key(number), at: 1)
        guard place >= 0 else { continue }
        let callout = UInt32.random(in: 0..<3, using: &generator)
        if (try? table.associate(next, place, Int32(callout), layer)) != nil {
          #expect(model[number]?[callout] == nil)
          model[number, default: [:]][callout] = next
          live.insert(next)
          next += 1
        }
      }
      for deletion in table.deletions { #expect(told.insert(deletion.context).inserted) }
      table.deletions.removeAll(keepingCapacity: true)
      #expect(table.contexts == live.count)
    }
    #expect(told.isDisjoint(with: live) && told.count + live.count == Int(next) - 1)
  }

  @Test func `a look through a table without flows ends`() {
    var table = FlowTable(capacity: 4)
    var limit = 1024
    var looks = 0
    while limit > 0, looks < 2000 {
      #expect(table.look(&limit) { _ in true } == -1)
      looks += 1
    }
    #expect(limit == 0 && looks == 1)
  }
}
