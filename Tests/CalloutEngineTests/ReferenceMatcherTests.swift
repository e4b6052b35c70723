// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

/// Filters and packets of a small world, so that they often meet.
struct RandomWorld {
  var random: SeededGenerator
  static let addresses: [[UInt8]] = [
    [10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 1, 1], [192, 168, 0, 1],
  ]
  static let ports = [53, 54, 80, 4000]

  mutating func pick<Element>(_ items: [Element]) -> Element {
    items[Int.random(in: 0..<items.count, using: &random)]
  }

  mutating func packet() -> [UInt8] {
    Make.ipv4(
      pick([17, 6, 1]), from: pick(Self.addresses), to: pick(Self.addresses),
      source: pick(Self.ports), target: pick(Self.ports), offset: pick([0, 0, 0, 8]))
  }

  mutating func metadata() -> PacketMetadata {
    var metadata = PacketMetadata()
    metadata.inputDevice = pick([0, 1, 2])
    metadata.outputDevice = pick([0, 1, 2])
    metadata.userID = pick([nil, 0, 1000])
    return metadata
  }

  mutating func condition(at layer: Layer) -> Condition {
    let field = pick(Field.allCases.filter { $0.isAvailable(at: layer) })
    let value: UInt128
    switch field.valueType {
    case .address: value = Self.bits(pick(Self.addresses))
    case .flags: value = pick([1, 0x20, 0x21])
    case .macAddress, .blob: value = 0
    case .integer(let bits):
      value = bits == 16 ? UInt128(pick(Self.ports)) : pick([0, 1, 2, 6, 17])
    }
    if case .address = field.valueType, pick([true, false]) {
      let address = IPAddress(v4: UInt32(truncatingIfNeeded: value))
      let prefix = IPPrefix(address, length: pick([0, 8, 23, 24, 30, 31, 32]))
      if let prefix { return Condition(field, pick([.prefix(prefix), .notPrefix(prefix)])) }
    }
    let bits = UInt32(truncatingIfNeeded: value)
    switch (field.valueType, Int.random(in: 0..<11, using: &random)) {
    case (.address, 0): return Condition(field, .masked(value & 0xff0000ff, mask: 0xff0000ff))
    case (_, 6): return Condition(field, .notEqual(value))
    case (_, 7): return Condition(field, .greater(value))
    case (_, 8): return Condition(field, .less(value))
    case (_, 9): return Condition(field, .greaterOrEqual(value))
    case (_, 10): return Condition(field, .lessOrEqual(value))
    case (.address, _): return Condition(field, .equal(value))
    case (_, 0): return Condition(field, .flagsAllSet(bits))
    case (_, 1): return Condition(field, .flagsAnySet(bits))
    case (_, 2): return Condition(field, .flagsNoneSet(bits))
    case (_, 3): return Condition(field, .range(value / 2, value))
    default: return Condition(field, .equal(value))
    }
  }

  static func bits(_ address: [UInt8]) -> UInt128 { address.reduce(0) { $0 << 8 | UInt128($1) } }

  mutating func filters(at layer: Layer, _ sublayers: [String]) -> [Filter] {
    (0..<Int.random(in: 1...12, using: &random)).map { number in
      let count = Int.random(in: 0...4, using: &random)
      let conditions = (0..<count).map { _ in condition(at: layer) }
      return Filter(
        name: "\(number)", layer: layer, sublayer: pick(sublayers),
        weight: pick([.automatic, .explicit(3), .explicit(300), .range(2)]),
        conditions: conditions, action: pick([.permit, .block]))
    }
  }
}

/// What the compiled policy must say, read off the bytes and the filters one by one.
enum SlowMatcher {
  static func value(
    _ field: Field, _ bytes: [UInt8], _ layer: Layer, _ metadata: PacketMetadata
  ) -> UInt128? {
    let isInbound = layer.hook == .prerouting || layer.hook == .input
    let isLater = bytes[6] & 0x1f != 0 || bytes[7] != 0
    func number(_ range: Range<Int>) -> UInt128 { RandomWorld.bits(Array(bytes[range])) }
    func device(_ index: UInt32) -> UInt128? { index == 0 ? nil : UInt128(index) }
    switch field {
    case .ipProtocol: return UInt128(bytes[9])
    case .ipSourceAddress: return number(12..<16)
    case .ipDestinationAddress: return number(16..<20)
    case .ipLocalAddress: return isInbound ? number(16..<20) : number(12..<16)
    case .ipRemoteAddress: return isInbound ? number(12..<16) : number(16..<20)
    case .ipSourcePort: return isLater || bytes[9] == 1 ? nil : number(20..<22)
    case .ipDestinationPort: return isLater || bytes[9] == 1 ? nil : number(22..<24)
    case .ipLocalPort:
      return value(isInbound ? .ipDestinationPort : .ipSourcePort, bytes, layer, metadata)
    case .ipRemotePort:
      return value(isInbound ? .ipSourcePort : .ipDestinationPort, bytes, layer, metadata)
    case .icmpType: return isLater || bytes[9] != 1 ? nil : UInt128(bytes[20])
    case .icmpCode: return isLater || bytes[9] != 1 ? nil : UInt128(bytes[21])
    case .interfaceIndex: return device(isInbound ? metadata.inputDevice : metadata.outputDevice)
    case .sourceInterfaceIndex: return device(metadata.inputDevice)
    case .destinationInterfaceIndex: return device(metadata.outputDevice)
    case .flags:
      let isLoopback = metadata.inputDevice == 1 || metadata.outputDevice == 1
      return (isLoopback ? 1 : 0) + (isLater ? 0x20 : 0)
    case .arrivalInterfaceIndex: return device(metadata.inputDevice)
    // All addresses of the small world name one host, and its ICMP is no error.
    case .ipLocalAddressType, .ipDestinationAddressType, .compartmentID: return 1
    case .direction: return layer.hook == .forward ? nil : isInbound ? 1 : 0
    case .userID: return metadata.userID.map { UInt128($0) }
    case .groupID: return metadata.groupID.map { UInt128($0) }
    default: return nil
    }
  }

  static func accepts(_ match: Condition.Match, _ value: UInt128) -> Bool {
    switch match {
    case .equal(let wanted): value == wanted
    case .notEqual(let other): value != other
    case .greater(let other): value > other
    case .less(let other): value < other
    case .greaterOrEqual(let other): value >= other
    case .lessOrEqual(let other): value <= other
    case .range(let low, let high): (low...high).contains(value)
    case .prefix(let prefix): prefix.contains(IPAddress(v4: UInt32(value)))
    case .notPrefix(let prefix): !prefix.contains(IPAddress(v4: UInt32(value)))
    case .masked(let wanted, let mask): value & mask == wanted
    case .flagsAllSet(let bits): (0..<32).allSatisfy { bits >> $0 & 1 == 0 || value >> $0 & 1 == 1 }
    case .flagsAnySet(let bits): (0..<32).contains { bits >> $0 & 1 == 1 && value >> $0 & 1 == 1 }
    case .flagsNoneSet(let bits): !(0..<32).contains { bits >> $0 & 1 == 1 && value >> $0 & 1 == 1 }
    case .blob: false
    }
  }

  static func decide(
    _ filters: [Filter], _ weights: [String: UInt16], _ bytes: [UInt8], _ layer: Layer,
    _ metadata: PacketMetadata
  ) -> String {
    let matching = filters.filter { filter in
      Set(filter.conditions.map(\.field)).allSatisfy { field in
        guard let value = value(field, bytes, layer, metadata) else { return false }
        return filter.conditions.contains { $0.field == field && accepts($0.match, value) }
      }
    }
    // A filter's block is final and its permit is not: one sublayer that blocks is enough.
    for sublayer in weights.keys {
      let best = matching.filter { $0.sublayer == sublayer }
        .reduce(nil) { best, next -> Filter? in
          guard let best, best.effectiveWeight >= next.effectiveWeight else { return next }
          return best
        }
      if best?.action == .block { return "block" }
    }
    return "permit"
  }
}

@Suite struct ReferenceMatcherTests {
  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func `the compiled policy decides as the slow matcher does`(seed: UInt64) throws {
    let bench = Bench()
    var world = RandomWorld(random: SeededGenerator(state: seed))
    let weights: [String: UInt16] = ["default": 0x8000, "a": 1, "b": 0x8000]
    let sublayers = [Sublayer(name: "a", weight: 1), Sublayer(name: "b", weight: 0x8000)]
    var blocked = 0
    for _ in 0..<250 {
      let layer = world.pick(Layer.allCases.filter { $0.hook != nil && !$0.isIPv6 })
      let filters = world.filters(at: layer, Array(weights.keys).sorted())
      try bench.adopt(filters, sublayers: sublayers)
      for _ in 0..<12 {
        let (bytes, metadata) = (world.packet(), world.metadata())
        let expected = SlowMatcher.decide(filters, weights, bytes, layer, metadata)
        let found = try bench.decide(bytes, at: layer, metadata: metadata).text
        if found != expected { Issue.record("\(filters) \(bytes): \(found)") }
        blocked += found == "block" ? 1 : 0
      }
    }
    #expect((300..<2700).contains(blocked))
  }
}
