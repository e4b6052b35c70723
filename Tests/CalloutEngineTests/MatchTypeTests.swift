// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct MatchTypeTests {
  let bench = Bench()

  func matches(_ conditions: [Condition], _ bytes: [UInt8], at layer: Layer) throws -> Bool {
    try bench.adopt([filter(.block, conditions, layer: layer)])
    return try bench.decide(bytes, at: layer).text == "block"
  }

  /// The values of 0 to 9 that a typed condition on the protocol accepts.
  func accepted(_ type: MatchType, _ value: ConditionValue) throws -> [UInt8] {
    let condition = try Condition(.ipProtocol, type, value, at: .inboundIPPacketV4)
    return try (0...9 as ClosedRange<UInt8>).filter {
      try matches([condition], Make.ipv4($0 == 6 ? 6 : $0 == 1 ? 1 : $0), at: .inboundIPPacketV4)
    }
  }

  @Test func `F63: each match type accepts what WFP's does`() throws {
    #expect(try accepted(.equal, .uint8(5)) == [5])
    #expect(try accepted(.notEqual, .uint8(5)) == [0, 1, 2, 3, 4, 6, 7, 8, 9])
    #expect(try accepted(.greater, .uint8(7)) == [8, 9])
    #expect(try accepted(.greater, .uint8(255)) == [])
    #expect(try accepted(.less, .uint8(2)) == [0, 1])
    #expect(try accepted(.less, .uint8(0)) == [])
    #expect(try accepted(.greaterOrEqual, .uint8(7)) == [7, 8, 9])
    #expect(try accepted(.lessOrEqual, .uint8(2)) == [0, 1, 2])
    #expect(try accepted(.range, .range(.uint8(3), .uint8(5))) == [3, 4, 5])
    #expect(try accepted(.flagsAllSet, .uint8(6)) == [6, 7])
    #expect(try accepted(.flagsAnySet, .uint8(6)) == [2, 3, 4, 5, 6, 7])
    #expect(try accepted(.flagsNoneSet, .uint8(6)) == [0, 1, 8, 9])
  }

  @Test func `F63: address masks accept what lies under them, with gaps too`() throws {
    func accepts(_ type: MatchType, _ value: ConditionValue) throws -> [Bool] {
      let condition = try Condition(.ipSourceAddress, type, value, at: .inboundIPPacketV4)
      return try [[10, 0, 0, 1], [10, 9, 9, 1], [11, 0, 0, 1]].map {
        try matches([condition], Make.ipv4(17, from: $0), at: .inboundIPPacketV4)
      }
    }
    let wide = ConditionValue.v4AddressMask(address: 0x0a00_0000, mask: 0xff00_0000)
    let gaps = ConditionValue.v4AddressMask(address: 0x0a00_0001, mask: 0xffff_00ff)
    #expect(try accepts(.equal, wide) == [true, true, false])
    #expect(try accepts(.prefix, wide) == [true, true, false])
    #expect(try accepts(.notPrefix, wide) == [false, false, true])
    #expect(try accepts(.notEqual, wide) == [false, false, true])
    #expect(try accepts(.equal, gaps) == [true, false, false])
    #expect(throws: ConditionError.self) { try accepts(.notEqual, gaps) }

    let from = Make.address(0x2001_0db8 << 32, 7)
    let packet = Make.ipv6(17, from: from, to: from)
    for (length, type, expected) in [
      (32, .equal, true), (128, .equal, false), (32, .notPrefix, false), (128, .notEqual, true),
    ] as [(UInt8, MatchType, Bool)] {
      let mask = ConditionValue.v6AddressMask(
        high: 0x2001_0db8 << 32, low: 8, prefixLength: length)
      let condition = try Condition(.ipSourceAddress, type, mask, at: .inboundIPPacketV6)
      let found = try matches([condition], packet, at: .inboundIPPacketV6)
      #expect(found == expected, "\(type) /\(length)")
    }
  }

  static let values: [ConditionValue] = [
    .uint8(1), .uint16(1), .uint32(1), .uint64(1), .int8(1), .int16(1), .int32(1), .int64(1),
    .byteArray16(high: 0, low: 1), .byteArray6(MACAddress(rawValue: 1)),
    .v4AddressMask(address: 1, mask: 1), .v6AddressMask(high: 0, low: 1, prefixLength: 128),
    .range(.uint8(1), .uint8(2)),
  ]

  func status(_ field: Field, _ type: MatchType, _ value: ConditionValue, _ layer: Layer)
    -> UInt32
  {
    do throws(ConditionError) {
      _ = try Condition(field, type, value, at: layer)
      return 0
    } catch { return error.status }
  }

  @Test(
    arguments: [
      (.ipProtocol, .inboundIPPacketV4, [1]), (.ipSourcePort, .inboundIPPacketV4, [2]),
      (.icmpType, .inboundIPPacketV4, [2]), (.interfaceIndex, .inboundIPPacketV4, [3]),
      (.flags, .inboundIPPacketV4, [3]), (.ipSourceAddress, .inboundIPPacketV4, [3, 0x100]),
      (.ipSourceAddress, .inboundIPPacketV6, [11, 0x101]),
      (.macLocalAddress, .inboundMACFrameEthernet, [18]),
      (.interface, .inboundMACFrameEthernet, [4]), (.vlanID, .inboundMACFrameEthernet, [2]),
    ] as [(Field, Layer, [UInt32])])
  func `F63: only the field's own type is taken`(field: Field, layer: Layer, types: [UInt32]) {
    for type in [MatchType.equal, .notEqual, .greater, .less, .greaterOrEqual, .lessOrEqual] {
      for value in Self.values where !types.contains(value.dataType) {
        #expect(status(field, type, value, layer) == 0xc022_0027, "\(type) \(value)")
      }
    }
    for value in Self.values where types.contains(value.dataType) {
      #expect(status(field, .equal, value, layer) == 0, "\(value)")
    }
    #expect(status(field, .range, .range(.int8(1), .int8(2)), layer) == 0xc022_0027)
  }

  @Test func `F63: matches that the type does not have are refused, and empty ranges`() {
    let mac = ConditionValue.byteArray6(MACAddress(rawValue: 1))
    let layer = Layer.inboundMACFrameEthernet
    for type in [MatchType.greater, .less, .greaterOrEqual, .lessOrEqual] {
      #expect(status(.macLocalAddress, type, mac, layer) == 0xc022_0026)
    }
    #expect(status(.macLocalAddress, .range, .range(mac, mac), layer) == 0xc022_0026)
    for type in [MatchType.flagsAllSet, .flagsAnySet, .flagsNoneSet] {
      #expect(status(.macLocalAddress, type, mac, layer) == 0xc022_0026)
      #expect(status(.ipSourceAddress, type, .uint32(1), .inboundIPPacketV4) == 0xc022_0026)
    }
    for type in [MatchType.prefix, .notPrefix] {
      #expect(status(.ipSourcePort, type, .uint16(1), .inboundIPPacketV4) == 0xc022_0026)
    }
    #expect(
      status(.ipSourcePort, .range, .range(.uint16(9), .uint16(8)), .inboundIPPacketV4)
        == 0xc022_0020)
    #expect(status(.ipLocalPort, .equal, .uint16(1), .ipForwardV4) == 0xc022_0002)
  }

  @Test func `F64: conditions on one field are or-ed, on different fields and-ed`() throws {
    let layer = Layer.inboundIPPacketV4
    let udp = try Condition(.ipProtocol, .equal, .uint8(17), at: layer)
    let tcp = try Condition(.ipProtocol, .equal, .uint8(6), at: layer)
    let port = try Condition(.ipDestinationPort, .equal, .uint16(53), at: layer)
    let other = try Condition(.ipDestinationPort, .greater, .uint16(53), at: layer)
    for (conditions, expected) in [
      ([udp, port], true), ([tcp, port], false), ([udp, tcp, port], true),
      ([udp, other], false), ([udp, other, port], true), ([tcp, other, port], false),
    ] {
      #expect(try matches(conditions, Make.ipv4(17), at: layer) == expected)
    }
  }

  @Test func `F65: automatic weights stay below 2^60, and a range index is the top four bits`() {
    let layer = Layer.inboundIPPacketV4
    let many = (0..<20_000).map { Condition(.ipDestinationPort, .equal(UInt128($0))) }
    for conditions in [[], [Condition(.ipProtocol, .equal(6))], many] {
      let automatic = filter(.permit, conditions, layer: layer).effectiveWeight
      #expect(automatic < 1 << 60)
      for index in 0...15 as ClosedRange<UInt8> {
        let weight = filter(.permit, conditions, weight: .range(index), layer: layer)
          .effectiveWeight
        #expect(weight >> 60 == UInt64(index) && weight & (1 << 60 - 1) == automatic)
      }
    }
    #expect(filter(.permit, weight: .explicit(.max)).effectiveWeight == .max)
    #expect(filter(.permit, weight: .explicit(1)).effectiveWeight == 1)
  }
}
