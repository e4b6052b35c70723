// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct PacketLayoutTests {
  /// What is expected of a capture: protocol, transport and payload offset, payload length, ports.
  struct Expected: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let number: IPProtocol
    let transport: Int?
    let payload: Int
    let length: Int?
    let ports: [UInt16]

    var testDescription: String { name }

    init(
      _ name: String, _ bytes: [UInt8], _ number: IPProtocol, _ transport: Int?, _ payload: Int,
      _ length: Int?, _ ports: [UInt16] = []
    ) {
      self.name = name
      self.bytes = bytes
      self.number = number
      self.transport = transport
      self.payload = payload
      self.length = length
      self.ports = ports
    }
  }

  static let table = [
    Expected("udp4", Captures.udp4, .udp, 20, 28, 43, [5353, 53]),
    Expected("tcp4", Captures.tcp4, .tcp, 20, 60, 43, [40000, 443]),
    Expected("icmp4", Captures.icmp4, .icmp, 20, 28, 43),
    Expected("unreachable4", Captures.unreachable4, .icmp, 20, 28, 28),
    Expected("options4", Captures.options4, .udp, 28, 36, 43, [7, 8]),
    Expected("slack4", Captures.slack4, .udp, 20, 28, 43, [7, 8]),
    Expected("empty4", Captures.empty4, .udp, 20, 28, 0, [1, 2]),
    Expected("firstFragment4", Captures.firstFragment4, .udp, 20, 28, 56, [1000, 2000]),
    Expected("lastFragment4", Captures.lastFragment4, .udp, nil, 20, 44),
    Expected("sctp4", Captures.sctp4, .sctp, 20, 32, 20, [9, 10]),
    Expected("esp4", Captures.esp4, .esp, 20, 20, 32),
    Expected("udp6", Captures.udp6, .udp, 40, 48, 43, [5353, 53]),
    Expected("tcp6", Captures.tcp6, .tcp, 40, 64, 43, [40000, 443]),
    Expected("icmp6", Captures.icmp6, .icmpv6, 40, 48, 43),
    Expected("neighbor6", Captures.neighbor6, .icmpv6, 40, 48, 24),
    Expected("extensions6", Captures.extensions6, .tcp, 56, 76, 43, [1, 2]),
    Expected("routed6", Captures.routed6, .udp, 64, 72, 43, [1, 2]),
    Expected("authenticated6", Captures.authenticated6, .udp, 64, 72, 43, [1, 2]),
    Expected("firstFragment6", Captures.firstFragment6, .udp, 48, 56, 1224, [1000, 2000]),
    Expected("lastFragment6", Captures.lastFragment6, .udp, nil, 48, 176),
    Expected("atomic6", Captures.atomic6, .udp, 48, 56, 43, [1, 2]),
    Expected("none6", Captures.none6, .none, nil, 40, 0),
    Expected("jumbo6", Captures.jumbo6, .tcp, 48, 68, nil, [1, 2]),
  ]

  @Test(arguments: table)
  func `a captured packet is laid out`(expected: Expected) throws {
    let found = try layout(expected.bytes)
    #expect(found.transportProtocol == expected.number)
    #expect(found.transportOffset == expected.transport)
    #expect(found.payloadOffset == expected.payload)
    #expect(found.payloadLength == expected.length)
    #expect(found.hasPorts == !expected.ports.isEmpty)
    #expect(found.sourcePort == expected.ports.first ?? 0)
    #expect(found.destinationPort == expected.ports.last ?? 0)
    #expect(found.capturedLength == expected.bytes.count)
    #expect(found.version == (expected.bytes[0] >> 4 == 4 ? .v4 : .v6))
    #expect(found.isCapturedWhole == (expected.length != nil))
  }

  @Test func `header fields are in host order`() throws {
    let four = try layout(Captures.udp4)
    #expect(four.sourceAddress == IPAddress("10.0.0.1"))
    #expect(four.destinationAddress == IPAddress("10.0.0.2"))
    #expect(four.timeToLive == 64)
    #expect(four.dscp == 46)
    #expect(four.ecn == 1)
    #expect(four.networkHeaderLength == 20)
    #expect(four.totalLength == 71)
    #expect(!four.isFragment)
    let six = try layout(Captures.udp6)
    #expect(six.sourceAddress == IPAddress("fd00::1"))
    #expect(six.destinationAddress == IPAddress("2001:db8::2"))
    #expect(six.timeToLive == 64)
    #expect(six.dscp == 46)
    #expect(six.ecn == 1)
    #expect(six.networkHeaderLength == 40)
    #expect(six.totalLength == 91)
  }

  @Test func `TCP flags and ICMP fields are read`() throws {
    #expect(try layout(Captures.tcp4).tcpFlags == [.syn, .ack])
    let echo = try layout(Captures.icmp4)
    #expect(echo.isICMP && echo.icmpType == 8 && echo.icmpCode == 0)
    #expect(echo.echoIdentifier == 0xbeef)
    let echo6 = try layout(Captures.icmp6)
    #expect(echo6.icmpType == 128)
    #expect(echo6.echoIdentifier == 0xbeef)
    let error = try layout(Captures.unreachable4)
    #expect(error.icmpType == 3 && error.icmpCode == 3)
    #expect(error.echoIdentifier == nil)
    #expect(try layout(Captures.udp4).tcpFlags.isEmpty)
  }

  @Test func `fragments are told apart`() throws {
    for (first, last, offset) in [
      (Captures.firstFragment4, Captures.lastFragment4, 64),
      (Captures.firstFragment6, Captures.lastFragment6, 1232),
    ] {
      let head = try layout(first)
      let tail = try layout(last)
      #expect(head.isFragment && head.isFirstFragment && head.moreFragments)
      #expect(head.fragmentOffset == 0)
      #expect(tail.isFragment && !tail.isFirstFragment && !tail.moreFragments)
      #expect(tail.fragmentOffset == offset)
      #expect(head.fragmentIdentification == tail.fragmentIdentification)
      #expect(head.fragmentIdentification != 0)
    }
    let atomic = try layout(Captures.atomic6)
    #expect(!atomic.isFragment)
    #expect(atomic.fragmentIdentification == 78)
  }

  @Test func `a packet cut behind its headers is not malformed`() throws {
    let found = try #require(layoutOrNil(Captures.tcp4, first: 60))
    #expect(found.capturedLength == 60)
    #expect(found.totalLength == Captures.tcp4.count)
    #expect(!found.isCapturedWhole)
    #expect(found.payloadLength == 43)
    let cut = Array(Captures.tcp4[..<60])
    let rest = found.payload(in: cut.span.packetBytes).byteCount
    #expect(rest == 0)
  }

  @Test func `padding behind the packet is left out`() throws {
    let padded = Captures.empty4 + [UInt8](repeating: 0, count: 18)
    let found = try layout(padded)
    #expect(found.capturedLength == 28)
    #expect(found.isCapturedWhole)
    let bytes = found.transportBytes(in: padded.span.packetBytes).byteCount
    #expect(bytes == 8)
  }

  @Test func `slack behind a UDP datagram is not payload`() throws {
    let bytes = Captures.slack4
    let found = try layout(bytes)
    #expect(found.totalLength == 76)
    let length = found.payload(in: bytes.span.packetBytes).byteCount
    #expect(length == 43)
  }

  @Test func `a large GSO packet is laid out from its first bytes`() throws {
    let huge = patched(Captures.tcp4, (2, 0xff), (3, 0xff))
    let found = try layout(huge)
    #expect(found.totalLength == 65535)
    #expect(found.payloadLength == 65475)
    #expect(!found.isCapturedWhole)
  }

  @Test func `jumbograms and BIG TCP segments have an unknown length`() throws {
    let jumbo = try layout(Captures.jumbo6)
    #expect(jumbo.totalLength == 0)
    #expect(jumbo.payloadLength == nil)
    #expect(!jumbo.isCapturedWhole)
    let big4 = try layout(patched(Captures.tcp4, (2, 0), (3, 0)))
    #expect(big4.totalLength == 0)
    #expect(big4.destinationPort == 443)
    let big6 = try layout(patched(Captures.tcp6, (4, 0), (5, 0)))
    #expect(big6.totalLength == 0)
    #expect(big6.destinationPort == 443)
  }
}
