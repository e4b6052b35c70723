// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews

/// Numbers that are the same for the same seed.
struct Dice: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }

  mutating func pick<Element>(_ items: [Element]) -> Element {
    items[Int.random(in: 0..<items.count, using: &self)]
  }

  mutating func chance(_ part: Int, of whole: Int) -> Bool {
    Int.random(in: 0..<whole, using: &self) < part
  }
}

/// Packets of a small world, each with a number in its header: IPv4's id, IPv6's flow label.
struct RandomPackets {
  /// What tells these packets from those that hosts say by themselves.
  static let timeToLive: UInt8 = 61

  private static let ports: [UInt16] = [7, 53, 80, 443, 5353, 50_000]
  private static let protocols: [UInt8] = [17, 17, 6, 6, 132, 136, 50]

  var dice: Dice

  /// A packet from one host of a topology's links to another.
  mutating func packet(_ number: Int, isIPv6: Bool, from: String, to: String) -> [UInt8] {
    var number = UInt32(number)
    let isICMP = dice.chance(1, of: 6)
    let transport = isICMP ? (isIPv6 ? 58 : 1) : dice.pick(Self.protocols)
    var body = [UInt8](repeating: 0, count: 40)
    if isICMP {
      // Nothing that is answered, or that names a flow.
      body[0] = dice.pick(isIPv6 ? [129, 3] : [0, 3, 11])
      body[1] = dice.pick([0, 1, 3])
    } else {
      let (source, target) = (dice.pick(Self.ports), dice.pick(Self.ports))
      body.replaceSubrange(
        0..<4,
        with: [UInt8(source >> 8), UInt8(source & 255), UInt8(target >> 8), UInt8(target & 255)])
      if transport == 6 { (body[12], body[13]) = (0x50, 0x04) }
      if transport == 17 || transport == 136 { body[5] = 40 }
    }
    guard isIPv6 else {
      let fragment: UInt16 = dice.chance(1, of: 12) ? dice.pick([0x2000, 0x0005, 0x2007]) : 0
      var header: [UInt8] = [
        0x45, 0, 0, 60, UInt8(number >> 8 & 255), UInt8(number & 255), UInt8(fragment >> 8),
        UInt8(fragment & 255), Self.timeToLive, transport, 0, 0,
      ]
      header += Self.bytes(of: from) + Self.bytes(of: to)
      let sum = stride(from: 0, to: 20, by: 2).reduce(UInt32(0)) {
        $0 + UInt32(header[$1]) << 8 + UInt32(header[$1 + 1])
      }
      let checksum = ~UInt16(truncatingIfNeeded: (sum & 0xffff) + (sum >> 16))
      (header[10], header[11]) = (UInt8(checksum >> 8), UInt8(checksum & 255))
      return header + body
    }
    var next = transport
    if dice.chance(1, of: 8) {
      // Destination options, or a whole packet's fragment header.
      next = dice.pick([60, 44])
      body = [transport, 0] + (next == 60 ? [1, 4, 0, 0, 0, 0] : [0, 0, 0, 0, 0, 9]) + body
    }
    number |= 6 << 28
    let start = [24, 16, 8, 0].map { UInt8(number >> $0 & 255) }
    return start + [0, UInt8(body.count), next, Self.timeToLive] + Self.bytes(of: from)
      + Self.bytes(of: to)
      + body
  }

  static func bytes(of address: String) -> [UInt8] {
    var room = [UInt8](repeating: 0, count: 16)
    let isIPv6 = address.contains(":")
    inet_pton(isIPv6 ? AF_INET6 : AF_INET, address, &room)
    return Array(room.prefix(isIPv6 ? 16 : 4))
  }
}

/// Policies that often match such packets.
struct RandomPolicies {
  var dice: Dice
  let devices: [UInt32]
  let addresses: [String]

  mutating func policy(at layers: [Layer], makeCallout: @escaping @Sendable () -> Callout)
    -> FilterPolicy
  {
    var filters: [Filter] = []
    for layer in layers {
      for number in 0..<Int.random(in: 2...14, using: &dice) {
        let conditions = (0..<Int.random(in: 1...3, using: &dice)).map { _ in condition(layer) }
        let action: FilterAction =
          dice.chance(1, of: 8)
          ? .calloutUnknown("asked") : dice.chance(3, of: 5) ? .permit : .block
        filters.append(
          Filter(
            name: "\(layer.name) \(number)", layer: layer,
            sublayer: dice.pick(["default", "high", "low"]),
            weight: dice.pick([.automatic, .explicit(3), .explicit(300), .range(2)]),
            conditions: conditions, action: action,
            flags: dice.chance(1, of: 5) ? .clearActionRight : []))
      }
    }
    return FilterPolicy(
      sublayers: [Sublayer(name: "high", weight: 0xf000), Sublayer(name: "low", weight: 5)],
      callouts: [CalloutRegistration(name: "asked", makeInstance: makeCallout)],
      filters: filters)
  }

  private mutating func condition(_ layer: Layer) -> Condition {
    // No MAC headers, and what each packet of a kind has alike is asked less often.
    let common: [Field] = [
      .ipProtocol, .ipSourceAddress, .ipDestinationAddress, .ipSourcePort, .ipDestinationPort,
      .ipLocalPort, .ipRemotePort, .ipRemoteAddress, .ipLocalAddress,
    ]
    let rare: [Field] = [
      .icmpType, .icmpCode, .interfaceIndex, .sourceInterfaceIndex, .destinationInterfaceIndex,
      .flags, .userID, .groupID,
    ]
    let field = dice.pick(
      (dice.chance(2, of: 3) ? common : rare).filter { $0.isAvailable(at: layer) })
    switch field.valueType {
    case .address:
      let text = dice.pick(addresses.filter { $0.contains(":") == layer.isIPv6 })
      let address = RandomPackets.bytes(of: text).reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
      switch Int.random(in: 0..<4, using: &dice) {
      case 0: return Condition(field, .equal(address))
      case 1: return Condition(field, .range(address, address + 1))
      default:
        let v6 = IPAddress(
          high: UInt64(truncatingIfNeeded: address >> 64),
          low: UInt64(truncatingIfNeeded: address))
        let whole = layer.isIPv6 ? v6 : IPAddress(v4: UInt32(truncatingIfNeeded: address))
        let length = whole.bitWidth - dice.pick([0, 1, 2, 8, 16])
        return IPPrefix(whole, length: length).map { Condition(field, .prefix($0)) }
          ?? Condition(field, .equal(address))
      }
    case .flags:
      let bits = dice.pick([1, 0x20, 0x21] as [UInt32])
      return Condition(
        field, dice.pick([.flagsAllSet(bits), .flagsAnySet(bits), .flagsNoneSet(bits)]))
    default:
      let value: UInt128 =
        switch field {
        case .ipProtocol: dice.pick([17, 6, 1, 58, 132, 50])
        case .icmpType: dice.pick([0, 3, 11, 129])
        case .icmpCode: dice.pick([0, 1, 3])
        case .userID, .groupID: 0
        case .interfaceIndex, .sourceInterfaceIndex, .destinationInterfaceIndex:
          UInt128(dice.pick(devices))
        default: dice.pick([7, 53, 80, 443, 5353, 50_000])
        }
      switch Int.random(in: 0..<5, using: &dice) {
      case 0: return Condition(field, .range(value / 2, value))
      case 1: return Condition(field, .masked(value & 0xfe, mask: 0xfe))
      case 2: return Condition(field, .range(value, value + 10))
      default: return Condition(field, .equal(value))
      }
    }
  }
}
