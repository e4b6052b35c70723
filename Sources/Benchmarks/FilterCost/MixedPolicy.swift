// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import PacketViews

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

/// Filters over mixed fields, and packets of which some match.
struct MixedPolicy {
  var random: SeededGenerator
  static let ports: [UInt128] = [22, 25, 53, 80, 123, 443, 853, 993, 3306, 5432, 8080, 8443]

  mutating func number(_ range: ClosedRange<UInt128>) -> UInt128 {
    UInt128.random(in: range, using: &random)
  }

  mutating func port() -> UInt128 {
    number(0...3) == 0 ? number(1...65535) : Self.ports[Int(number(0...11))]
  }

  mutating func address() -> IPAddress {
    IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
  }

  mutating func prefix(_ field: Field) -> Condition {
    let length = [12, 16, 20, 22, 24, 24, 24, 28, 32, 32, 32][Int(number(0...10))]
    return IPPrefix(address(), length: length).map { Condition(field, .prefix($0)) }
      ?? Condition(field, .equal(0))
  }

  mutating func ports(_ field: Field) -> Condition {
    let low = number(1...60000)
    return Condition(field, .range(low, min(low + number(0...2000), 65535)))
  }

  mutating func conditions() -> [Condition] {
    let name = Condition(.ipProtocol, .equal([6, 17][Int(number(0...1))]))
    switch number(0...9) {
    case 0, 1, 2:
      return [prefix(.ipRemoteAddress), name, Condition(.ipRemotePort, .equal(port()))]
    case 3: return [prefix(.ipRemoteAddress)]
    case 4: return [name, ports(.ipRemotePort), Condition(.userID, .equal(number(0...2000)))]
    case 5: return [prefix(.ipRemoteAddress), ports(.ipRemotePort), ports(.ipLocalPort)]
    case 6:
      return [
        Condition(.ipRemotePort, .equal(port())), Condition(.userID, .equal(number(0...2000))),
      ]
    case 7:
      let mask: UInt128 = 0xffff_00ff
      return [
        Condition(.ipRemoteAddress, .masked(number(0...0xffff_ffff) & mask, mask: mask)), name,
        Condition(.ipRemotePort, .equal(number(1...65535))),
      ]
    case 8: return [prefix(.ipRemoteAddress), Condition(.flags, .flagsNoneSet(0x20)), name]
    default:
      return [
        prefix(.ipLocalAddress), prefix(.ipRemoteAddress),
        Condition(.groupID, .range(100, 200)),
      ]
    }
  }

  mutating func filters(_ count: Int) -> [Filter] {
    let actions: [FilterAction] = [
      .permit, .permit, .permit, .permit, .block, .block, .permit, .calloutUnknown("continue"),
      .calloutInspection("look"), .calloutTerminating("permit"),
    ]
    return (0..<count).map { index in
      Filter(
        name: "filter \(index)", layer: .outboundTransportV4,
        sublayer: ["default", "a", "b", "c"][Int(number(0...3))],
        weight: number(0...1) == 0 ? .automatic : .explicit(UInt64(number(0...1_000_000))),
        conditions: conditions(), action: actions[Int(number(0...9))])
    }
  }

  /// A TCP packet; every second goes to where one of the filters points.
  mutating func packet(_ filters: [Filter]) -> [UInt8] {
    func bytes(_ value: UInt128, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt128(8 * (count - 1 - $0))) }
    }
    var remote = UInt128(address().low)
    let filter = filters.randomElement(using: &random)
    if number(0...1) == 0, case .prefix(let prefix)? = filter?.conditions.first?.match {
      remote = UInt128(prefix.address.low)
    }
    var packet: [UInt8] = [0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0]
    packet += bytes(number(0...0xffff_ffff), 4) + bytes(remote, 4)
    packet += bytes(number(1024...65535), 2) + bytes(port(), 2)
    return packet + [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0]
  }
}
