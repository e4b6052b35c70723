// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

@testable import ConnectionTracking

/// A connection of TCP between two IPv4 hosts behind source translation.
private let translated = Connection(
  id: 0x0102_0304,
  original: ConntrackTuple(
    source: IPAddress(10, 0, 0, 1), destination: IPAddress(192, 0, 2, 7),
    transportProtocol: .tcp, sourcePort: 40000, destinationPort: 443),
  reply: ConntrackTuple(
    source: IPAddress(192, 0, 2, 7), destination: IPAddress(198, 51, 100, 9),
    transportProtocol: .tcp, sourcePort: 443, destinationPort: 61000),
  status: [.seenReply, .assured, .confirmed], mark: 0xabcd_0000, tcpState: .established, zone: 3)

/// ICMPv6 echo.
private let echo = Connection(
  id: 7,
  original: ConntrackTuple(
    source: IPAddress(high: 0xfe80 << 48, low: 1),
    destination: IPAddress(high: 0xfe80 << 48, low: 2),
    transportProtocol: .icmpv6, sourcePort: 99, destinationPort: 99, icmpType: 128),
  reply: ConntrackTuple(
    source: IPAddress(high: 0xfe80 << 48, low: 2),
    destination: IPAddress(high: 0xfe80 << 48, low: 1),
    transportProtocol: .icmpv6, sourcePort: 99, destinationPort: 99, icmpType: 129))

/// A message as the kernel sends it.
private func message(_ connection: Connection, type: UInt16 = 0, flags: UInt16 = 0x600) -> [UInt8] {
  var request = NetfilterRequest(1 << 8 | type, flags: flags, family: 2)
  request.add(1, connection.original)
  request.add(2, connection.reply)
  request.add(12, connection.id)
  request.add(3, connection.status.rawValue)
  request.add(8, connection.mark)
  if connection.zone != 0 {
    request.add(18, [UInt8(connection.zone >> 8), UInt8(connection.zone & 255)])
  }
  if let state = connection.tcpState {
    request.addNested(4) { $0.addNested(1) { $0.add(1, [state.rawValue]) } }
  }
  return request.bytes
}

private func read(_ bytes: [UInt8]) -> [ConntrackMessage] {
  var (all, cursor) = ([ConntrackMessage](), 0)
  while let message = ConntrackMessage.next(in: bytes.span.packetBytes, at: &cursor) {
    all.append(message)
  }
  return all
}

@Suite struct ConntrackMessageTests {
  @Test func `Connections that begin, change and end are told apart and read whole`() {
    let all = read(
      message(translated) + message(echo, flags: 0) + message(translated, type: 2, flags: 0))
    #expect(
      all == [
        .connection(translated, isNew: true), .connection(echo, isNew: false), .ended(translated),
      ])
    #expect(translated.isTranslated && !echo.isTranslated)
  }

  @Test func `A message captured from the kernel is read`() {
    // conntrack -E of this: udp 127.0.0.1:4000 > 127.0.0.1:53, id 3675738359.
    let tuple: ([UInt8]) -> [UInt8] = { ports in
      [0x14, 0, 0x01, 0x80, 8, 0, 1, 0, 127, 0, 0, 1, 8, 0, 2, 0, 127, 0, 0, 1]
        + [0x1c, 0, 0x02, 0x80, 5, 0, 1, 0, 17, 0, 0, 0] + ports
    }
    let original = tuple([6, 0, 2, 0, 0x0f, 0xa0, 0, 0, 6, 0, 3, 0, 0, 53, 0, 0])
    let reply = tuple([6, 0, 2, 0, 0, 53, 0, 0, 6, 0, 3, 0, 0x0f, 0xa0, 0, 0])
    var bytes: [UInt8] =
      [0, 0, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]
      + [0x34, 0, 0x01, 0x80] + original + [0x34, 0, 0x02, 0x80] + reply
      + [8, 0, 12, 0, 0xdb, 0x17, 0x5c, 0xf7, 8, 0, 3, 0, 0, 0, 1, 8]
    bytes[0] = UInt8(bytes.count)
    guard case .connection(let found, isNew: true) = read(bytes).first else {
      Issue.record("not read: \(read(bytes))")
      return
    }
    #expect(found.id == 3_675_741_431)
    #expect(found.original.source == IPAddress(127, 0, 0, 1))
    #expect(found.original.sourcePort == 4000 && found.original.destinationPort == 53)
    #expect(found.reply.sourcePort == 53 && found.reply.destinationPort == 4000)
    #expect(found.original.transportProtocol == .udp)
    #expect(found.status == [.confirmed, ConntrackStatus(rawValue: 0x100)])
    #expect(!found.isTranslated)
  }

  @Test func `A refusal is read with its number`() {
    let refusal: [UInt8] = [
      20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff,
    ]
    #expect(read(refusal) == [.refused(errno: 2)])
  }

  @Test func `A message cut anywhere, or with a wrong length anywhere, never traps`() {
    for whole in [message(translated), message(echo)] {
      for length in 0..<whole.count {
        var cut = Array(whole.prefix(length))
        #expect(read(cut).isEmpty)
        guard length >= 16 else { continue }
        cut.replaceSubrange(0..<4, with: [UInt8(length & 255), UInt8(length >> 8), 0, 0])
        for case .connection(let connection, isNew: _) in read(cut) { #expect(connection.id != 0) }
      }
      for place in whole.indices {
        for value: UInt8 in [0, 1, 3, 4, 0x7f, 0xff] {
          var broken = whole
          broken[place] = value
          _ = read(broken)
        }
      }
    }
  }

  @Test func `Without an id or one direction there is no connection`() {
    var nameless = echo
    nameless.id = 0
    #expect(read(message(nameless)) == [.other])
    var request = NetfilterRequest(1 << 8, flags: 0x600, family: 2)
    request.add(1, echo.original)
    request.add(12, UInt32(5))
    #expect(read(request.bytes) == [.other])
  }
}
