// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

/// Frames and filters of a small world, so that they often meet.
struct RandomFrames {
  var random: SeededGenerator
  static let addresses: [UInt64] = [
    0x0200_0000_0001, 0x0200_0000_0002, 0x0100_5e00_0001, 0xffff_ffff_ffff, 0x0200_5e00_0001,
  ]
  static let types: [UInt16] = [0x0800, 0x0806, 0x86dd, 0x88b5, 38, 1510]

  mutating func pick<Element>(_ items: [Element]) -> Element {
    items[Int.random(in: 0..<items.count, using: &random)]
  }

  mutating func frame() -> [UInt8] {
    let tags = (0..<pick([0, 0, 1, 2])).map { _ in
      VLANTag(pick([.vlan, .serviceVLAN]), control: pick([100, 0xa064, 7]))
    }
    let payload = [UInt8](repeating: pick([0x45, 0x60, 0xaa]), count: pick([0, 4, 19, 40, 60]))
    let whole = MakeFrame.ethernet(
      from: MACAddress(rawValue: pick(Self.addresses)),
      to: MACAddress(rawValue: pick(Self.addresses)), tags: tags, type: pick(Self.types), payload)
    return Array(whole.prefix(pick([200, 200, 200, 13, 14, 17])))
  }

  mutating func condition(at layer: Layer) -> Condition {
    let field = pick(layer.frameFields)
    let value: UInt128
    switch field {
    case .etherType: value = UInt128(pick(Self.types))
    case .vlanID: value = pick([0, 100, 0xa064])
    case .l2Flags: return Condition(field, pick([.flagsAllSet(0x21), .flagsNoneSet(0x20)]))
    default:
      value = field.valueType == .macAddress ? UInt128(pick(Self.addresses)) : pick([0, 1, 2])
    }
    switch Int.random(in: 0..<3, using: &random) {
    case 0: return Condition(field, .range(value / 2, value))
    case 1: return Condition(field, .masked(value & 0xff, mask: 0xff))
    default: return Condition(field, .equal(value))
    }
  }
}

/// What the compiled policy must say, read off the bytes.
enum SlowFrameMatcher {
  static func number(_ bytes: ArraySlice<UInt8>) -> UInt128 {
    bytes.reduce(0) { $0 << 8 | UInt128($1) }
  }

  static func addressClass(_ bytes: ArraySlice<UInt8>) -> UInt128 {
    bytes.allSatisfy { $0 == 255 } ? 2 : (bytes.first ?? 0) & 1 == 1 ? 1 : 0
  }

  /// Where the type or length stands, and whether all tags before it are whole.
  static func type(_ bytes: [UInt8]) -> (place: Int, isWhole: Bool) {
    var place = 12
    while [0x8100, 0x88a8].contains(number(bytes[place..<place + 2])) {
      guard bytes.count >= place + 6 else { return (place, false) }
      place += 4
    }
    return (place, true)
  }

  static func isMalformed(_ bytes: [UInt8]) -> Bool {
    guard bytes.count >= 14 else { return true }
    let (place, isWhole) = type(bytes)
    let (kind, rest) = (number(bytes[place..<place + 2]), bytes.count - place - 2)
    switch kind {
    case 0x0800: return rest < 20
    case 0x86dd: return rest < 40
    case 0x0806: return rest < 8
    case 38: return rest < 38
    case 1510: return true
    default: return !isWhole
    }
  }

  static func value(_ field: Field, _ bytes: [UInt8], _ layer: Layer) -> UInt128? {
    let isInbound = layer == .inboundMACFrameEthernet
    let hasHeader = bytes.count >= 14
    func address(_ isFirst: Bool) -> ArraySlice<UInt8>? {
      hasHeader ? bytes[isFirst ? 0..<6 : 6..<12] : nil
    }
    switch field {
    case .macLocalAddress: return address(isInbound).map(number)
    case .macRemoteAddress: return address(!isInbound).map(number)
    case .macSourceAddress: return address(false).map(number)
    case .macDestinationAddress: return address(true).map(number)
    case .macLocalAddressType: return address(isInbound).map(addressClass)
    case .macRemoteAddressType: return address(!isInbound).map(addressClass)
    case .macSourceAddressType: return address(false).map(addressClass)
    case .macDestinationAddressType: return address(true).map(addressClass)
    case .etherType: return hasHeader ? number(bytes[type(bytes).place...].prefix(2)) : nil
    case .vlanID:
      guard hasHeader else { return nil }
      return type(bytes).place == 12 ? 0 : number(bytes[14..<16])
    case .l2Flags: return 1 + (isMalformed(bytes) ? 0x20 : 0)
    case .ndisPort, .ndisMediaType, .ndisPhysicalMediaType: return 0
    case .compartmentID: return 1
    case .interfaceType: return 6
    case .interfaceIndex: return 2
    case .interface: return 6 << 48 | 2 << 24
    default: return nil
    }
  }
}

@Suite struct FrameReferenceTests {
  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func `the compiled policy decides frames as the slow matcher does`(seed: UInt64) throws {
    let bench = Bench()
    var world = RandomFrames(random: SeededGenerator(state: seed))
    var metadata = FrameMetadata()
    metadata.interfaceIndex = 2
    var blocked = 0
    for _ in 0..<400 {
      let layer = world.pick(Layer.frameLayers)
      let conditions = (0..<world.pick([1, 1, 2, 3])).map { _ in world.condition(at: layer) }
      try bench.adoptFrames([filter(.block, conditions, layer: layer)])
      for _ in 0..<10 {
        let bytes = world.frame()
        let expected = Set(conditions.map(\.field)).allSatisfy { field in
          guard let value = SlowFrameMatcher.value(field, bytes, layer) else { return false }
          return conditions.contains {
            $0.field == field && SlowMatcher.accepts($0.match, value)
          }
        }
        let found = try bench.decideFrame(bytes, at: layer, metadata: metadata).text
        if (found == "block") != expected { Issue.record("\(conditions) \(bytes): \(found)") }
        blocked += found == "block" ? 1 : 0
      }
    }
    #expect((300..<3700).contains(blocked))
  }
}
