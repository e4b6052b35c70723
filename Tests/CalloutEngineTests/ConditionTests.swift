// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct ConditionTests {
  let bench = Bench()

  func matches(
    _ conditions: [Condition], _ bytes: [UInt8] = Make.ipv4(17),
    at layer: Layer = .inboundIPPacketV4, metadata: PacketMetadata = PacketMetadata()
  ) throws -> Bool {
    try bench.adopt([filter(.block, conditions, layer: layer)])
    return try bench.decide(bytes, at: layer, metadata: metadata).text == "block"
  }

  @Test func `equal and range take their ends in`() throws {
    for (match, expected) in [
      (.equal(53), true), (.equal(54), false), (.range(53, 60), true), (.range(40, 53), true),
      (.range(54, 60), false), (.range(0, 52), false), (.range(0, 65535), true),
    ] as [(Condition.Match, Bool)] {
      #expect(try matches([Condition(.ipDestinationPort, match)]) == expected, "\(match)")
    }
  }

  @Test func `one field's conditions are or-ed, different fields' are and-ed`() throws {
    let port = { Condition(.ipDestinationPort, .equal($0)) }
    let number = { Condition(.ipProtocol, .equal($0)) }
    #expect(try matches([port(1), port(53), port(2)]))
    #expect(try matches([port(1), number(17), port(53), number(6)]))
    #expect(try !matches([port(1), number(17)]))
    #expect(try !matches([port(53), number(6)]))
    #expect(try matches([]))
  }

  @Test func `an address lies in each of its prefixes and in none of its neighbour's`() throws {
    for length in 0...32 {
      let own = try #require(IPPrefix(IPAddress(10, 0, 0, 1), length: length))
      #expect(try matches([Condition(.ipSourceAddress, .prefix(own))]), "/\(length)")
      guard length > 0 else { continue }
      let flipped = IPAddress(v4: 0x0a00_0001 ^ 1 << UInt32(32 - length))
      let other = try #require(IPPrefix(flipped, length: length))
      #expect(try !matches([Condition(.ipSourceAddress, .prefix(other))]), "/\(length)")
    }
  }

  @Test func `an IPv6 address lies in each of its prefixes and in none of its neighbour's`() throws
  {
    let (high, low): (UInt64, UInt64) = (0x2001_0db8_0000_0001, 0xfedc_ba98_7654_3210)
    let bytes = Make.ipv6(
      17, from: Make.address(high, low), to: Make.address(0xfe80 << 48, 1))
    for length in 0...128 {
      let own = try #require(IPPrefix(IPAddress(high: high, low: low), length: length))
      let matched = try matches(
        [Condition(.ipSourceAddress, .prefix(own))], bytes, at: .inboundIPPacketV6)
      #expect(matched, "/\(length)")
      guard length > 0 else { continue }
      let bit = 128 - length
      let flipped = IPAddress(
        high: bit >= 64 ? high ^ 1 << UInt64(bit - 64) : high,
        low: bit < 64 ? low ^ 1 << UInt64(bit) : low)
      let other = try #require(IPPrefix(flipped, length: length))
      let mismatched = try matches(
        [Condition(.ipSourceAddress, .prefix(other))], bytes, at: .inboundIPPacketV6)
      #expect(!mismatched, "/\(length)")
    }
  }

  @Test func `flags are tested for all, any and none`() throws {
    var loopback = PacketMetadata()
    loopback.inputDevice = 1
    let fragment = Make.ipv4(17, offset: 8)
    for (match, plain, one, both) in [
      (.flagsAllSet(0x21), false, false, true), (.flagsAllSet(0x1), false, true, true),
      (.flagsAnySet(0x21), false, true, true), (.flagsNoneSet(0x21), true, false, false),
      (.flagsNoneSet(0x20), true, true, false),
    ] as [(Condition.Match, Bool, Bool, Bool)] {
      let condition = [Condition(.flags, match)]
      #expect(try matches(condition) == plain, "\(match)")
      #expect(try matches(condition, metadata: loopback) == one, "\(match)")
      #expect(try matches(condition, fragment, metadata: loopback) == both, "\(match)")
    }
  }

  @Test func `a field that the packet has no value for never matches`() throws {
    let any = Condition.Match.range(0, 255)
    let anyPort = Condition.Match.range(0, 65535)
    let icmp = Make.ipv4(1, source: 8, target: 0)
    #expect(try !matches([Condition(.ipSourcePort, anyPort)], icmp))
    #expect(try !matches([Condition(.ipSourcePort, .flagsNoneSet(0xffff))], icmp))
    #expect(try !matches([Condition(.ipDestinationPort, anyPort)], Make.ipv4(17, offset: 8)))
    #expect(try !matches([Condition(.icmpType, any)]))
    #expect(try matches([Condition(.icmpType, .equal(8)), Condition(.icmpCode, .equal(0))], icmp))
    let owner = Condition(.userID, .range(0, 0xffff_ffff))
    #expect(try !matches([owner], at: .outboundTransportV4))
    var metadata = PacketMetadata()
    metadata.userID = 0
    #expect(try matches([owner], at: .outboundTransportV4, metadata: metadata))
  }

  @Test func `a packet without a device has no device to compare`() throws {
    let any = Condition.Match.range(0, 0xffff_ffff)
    for field in [Field.interfaceIndex, .sourceInterfaceIndex, .destinationInterfaceIndex] {
      #expect(try !matches([Condition(field, any)]), "\(field)")
    }
    var metadata = PacketMetadata()
    metadata.inputDevice = 3
    metadata.outputDevice = 4
    for (layer, index) in [(.inboundIPPacketV4, 3), (.outboundIPPacketV4, 4), (.ipForwardV4, 4)]
      as [(Layer, UInt128)]
    {
      #expect(
        try matches([Condition(.interfaceIndex, .equal(index))], at: layer, metadata: metadata))
    }
  }

  @Test func `local and remote swap with the direction`() throws {
    for (layer, local) in [
      (.inboundIPPacketV4, 53), (.inboundTransportV4, 53), (.outboundTransportV4, 4000),
      (.outboundIPPacketV4, 4000),
    ] as [(Layer, UInt128)] {
      #expect(try matches([Condition(.ipLocalPort, .equal(local))], at: layer))
      #expect(try matches([Condition(.ipRemotePort, .equal(4053 - local))], at: layer))
      let localAddress = IPAddress(10, 0, 0, local == 53 ? 2 : 1)
      #expect(try matches([Condition(.ipLocalAddress, equals: localAddress)], at: layer))
      #expect(try !matches([Condition(.ipRemoteAddress, equals: localAddress)], at: layer))
    }
  }

  @Test func `fields are there at the layers that have them`() {
    let local: [Field] = [.ipLocalAddress, .ipRemoteAddress, .ipLocalPort, .ipRemotePort]
    for layer in Layer.allCases where !layer.indicatesFrames {
      for field in local {
        #expect(
          field.isAvailable(at: layer) == (layer.hook != .forward)
            || !layer.indicatesPackets)
      }
      for field in [Field.userID, .groupID] {
        #expect(
          field.isAvailable(at: layer)
            == ["outbound", "datagram", "ale-auth-connect", "ale-flow", "ale-endpoint"].contains {
              layer.name.hasPrefix($0)
            })
      }
      #expect(Field.flags.isAvailable(at: layer) == layer.acceptsFilters)
    }
    for field in Field.allCases { #expect(Field(name: field.name) == field) }
    #expect(Field(name: "nothing") == nil)
  }

  @Test func `a policy that cannot work is refused with the reason`() {
    let flags = Condition(.flags, .equal(1))
    for (filters, sublayers, expected) in [
      ([filter(.permit, sublayer: "x")], [], .unknownSublayer(filter: "f", sublayer: "x")),
      ([filter(.calloutUnknown("x"))], [], .unknownCallout(filter: "f", callout: "x")),
      (
        [], [Sublayer(name: "a", weight: 1), Sublayer(name: "a", weight: 2)],
        .duplicate(kind: "sublayers", name: "a")
      ),
      (
        [filter(.permit, [Condition(.ipLocalPort, .equal(1))], layer: .ipForwardV4)], [],
        .fieldNotAtLayer(filter: "f", field: "ip-local-port", layer: "ipforward-v4", instead: nil)
      ),
      (
        [filter(.permit, [flags], layer: .streamV4)], [],
        .layerHasNoPackets(filter: "f", layer: "stream-v4")
      ),
    ] as [([Filter], [Sublayer], PolicyError)] {
      #expect(throws: expected) { try bench.adopt(filters, sublayers: sublayers) }
    }
    #expect(throws: PolicyError.duplicate(kind: "callouts", name: "c")) {
      try bench.adopt([], [("c", { _, _ in }), ("c", { _, _ in })])
    }
  }

  @Test func `a value that is not of the field's type is refused`() throws {
    let prefix4 = Condition.Match.prefix(try #require(IPPrefix("10.0.0.0/8")))
    let prefix6 = Condition.Match.prefix(try #require(IPPrefix("fe80::/10")))
    for condition in [
      Condition(.ipProtocol, .equal(256)), Condition(.ipSourcePort, .equal(65536)),
      Condition(.ipSourcePort, .range(9, 8)), Condition(.ipSourcePort, .range(0, 65536)),
      Condition(.ipSourcePort, prefix4), Condition(.ipSourceAddress, prefix6),
      Condition(.ipSourceAddress, .flagsAllSet(1)), Condition(.ipSourceAddress, .equal(1 << 32)),
      Condition(.interfaceIndex, .equal(1 << 32)),
    ] {
      #expect(throws: PolicyError.self, "\(condition)") {
        try bench.adopt([filter(.permit, [condition])])
      }
    }
    for condition in [
      Condition(.ipProtocol, .equal(255)), Condition(.ipSourceAddress, prefix4),
      Condition(.ipSourcePort, .range(8, 8)),
    ] { try bench.adopt([filter(.permit, [condition])]) }
  }
}
