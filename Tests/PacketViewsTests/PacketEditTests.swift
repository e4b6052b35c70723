// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct PacketEditTests {
  static let whole = [
    Captures.udp4, Captures.tcp4, Captures.icmp4, Captures.options4, Captures.slack4,
    Captures.udp6, Captures.tcp6, Captures.icmp6, Captures.extensions6, Captures.visited6,
    Captures.atomic6,
  ]
  static let new4 = IPAddress(192, 0, 2, 77)
  static let new6 = IPAddress(high: 0x2001_0db8_dead_beef, low: 0x1234_5678_9abc_def0)

  static func other(_ version: IPVersion) -> IPAddress { version == .v4 ? new4 : new6 }

  @Test(arguments: whole)
  func `changed addresses, hops and code point leave right checksums`(bytes: [UInt8]) throws {
    let old = try layout(bytes)
    let address = Self.other(old.version)
    let result = try edited(bytes) { edit in
      try edit.setSourceAddress(address)
      try edit.setDestinationAddress(address)
      edit.setTimeToLive(3)
      try edit.setDSCP(10)
      edit.repairChecksums()
    }
    let new = try layout(result)
    #expect(new.sourceAddress == address && new.destinationAddress == address)
    #expect(new.timeToLive == 3 && new.dscp == 10 && new.ecn == old.ecn)
    #expect(try Reference.isRight(result))
    #expect(result.count == bytes.count)
    #expect(result[old.payloadOffset...] == bytes[old.payloadOffset...])
  }

  @Test(arguments: whole)
  func `changed ports leave right checksums`(bytes: [UInt8]) throws {
    guard try layout(bytes).hasPorts else {
      #expect(throws: RewriteError.noPorts) {
        _ = try edited(bytes) { try $0.setSourcePort(1) }
      }
      return
    }
    let result = try edited(bytes) { edit in
      try edit.setSourcePort(65000)
      try edit.setDestinationPort(8053)
      edit.repairChecksums()
    }
    let new = try layout(result)
    #expect(new.sourcePort == 65000 && new.destinationPort == 8053)
    #expect(try Reference.isRight(result))
  }

  @Test(arguments: whole, [0, 1, 42, 43, 44, 1400])
  func `a replaced payload has right lengths and checksums`(bytes: [UInt8], count: Int) throws {
    let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let old = try layout(bytes)
    let result = try edited(bytes, room: 1500) { edit in
      try edit.replacePayload(with: payload.span.packetBytes)
      edit.repairChecksums()
    }
    let new = try layout(result)
    #expect(new.totalLength == result.count && new.payloadLength == count)
    #expect(Array(result[new.payloadOffset...]) == payload)
    #expect(new.payloadOffset == old.payloadOffset)
    #expect(try Reference.isRight(result))
  }

  @Test func `a payload that is too long is refused`() throws {
    let payload = [UInt8](repeating: 1, count: 65535)
    #expect(throws: RewriteError.tooLong(65563)) {
      _ = try edited(Captures.udp4, room: 70000) {
        try $0.replacePayload(with: payload.span.packetBytes)
      }
    }
    #expect(throws: RewriteError.noRoom(128)) {
      _ = try edited(Captures.udp4, room: 50) {
        try $0.replacePayload(with: payload.span.packetBytes.slice(from: 0, length: 100))
      }
    }
    let longest = try edited(Captures.udp4, room: 70000) { edit in
      try edit.replacePayload(with: payload.span.packetBytes.slice(from: 0, length: 65507))
      edit.repairChecksums()
    }
    #expect(longest.count == 65535)
    #expect(try Reference.isRight(longest))
  }

  @Test(arguments: whole)
  func `unfinished checksums are finished`(bytes: [UInt8]) throws {
    let found = try layout(bytes)
    guard found.transportProtocol == .udp || found.transportProtocol == .tcp,
      let start = found.transportOffset
    else { return }
    let field = start + (found.transportProtocol == .tcp ? 16 : 6)
    let partial = patched(bytes, (field, 0x12), (field + 1, 0x34))
    let result = try edited(partial, checksum: .partial) { $0.repairChecksums() }
    #expect(result == bytes)
  }

  @Test func `an absent UDP checksum stays absent unless told`() throws {
    let left = try edited(Captures.noChecksum4) { edit in
      try edit.setDestinationPort(99)
      edit.repairChecksums()
    }
    #expect(word(left, 26) == 0)
    #expect(Reference.isHeaderRight(left))
    let filled = try edited(Captures.noChecksum4) { edit in
      try edit.setDestinationPort(99)
      edit.repairChecksums(fillingAbsentUDP: true)
    }
    #expect(word(filled, 26) != 0)
    #expect(try Reference.isRight(filled))
  }

  @Test func `an address of the other version is refused`() {
    #expect(throws: RewriteError.wrongVersion) {
      _ = try edited(Captures.udp4) { try $0.setSourceAddress(Self.new6) }
    }
    #expect(throws: RewriteError.wrongVersion) {
      _ = try edited(Captures.udp6) { try $0.setDestinationAddress(Self.new4) }
    }
  }

  @Test func `a packet not captured whole is refused`() {
    #expect(throws: RewriteError.truncated) {
      _ = try edited(Captures.udp4, captured: 60) { $0.setTimeToLive(1) }
    }
    #expect(throws: RewriteError.unknownLength) {
      _ = try edited(Captures.jumbo6) { $0.setTimeToLive(1) }
    }
  }

  @Test(arguments: [Captures.lastFragment4, Captures.lastFragment6])
  func `a later fragment takes only hops and code point`(bytes: [UInt8]) throws {
    let address = Self.other(try layout(bytes).version)
    #expect(throws: RewriteError.fragment) {
      _ = try edited(bytes) { try $0.setSourceAddress(address) }
    }
    #expect(throws: RewriteError.fragment) {
      _ = try edited(bytes) { try $0.setSourcePort(1) }
    }
    #expect(throws: RewriteError.fragment) {
      _ = try edited(bytes) { try $0.replacePayload(with: RawSpan()) }
    }
    let result = try edited(bytes) { edit in
      edit.setTimeToLive(2)
      try edit.setDSCP(0)
      edit.repairChecksums()
    }
    #expect(Reference.isHeaderRight(result))
    #expect(try layout(result).timeToLive == 2)
  }

  @Test func `a first fragment's checksum follows its addresses and ports`() throws {
    for (first, last) in [
      (Captures.firstFragment4, Captures.lastFragment4),
      (Captures.firstFragment6, Captures.lastFragment6),
    ] {
      let address = Self.other(try layout(first).version)
      let result = try edited(first) { edit in
        try edit.setSourceAddress(address)
        try edit.setDestinationAddress(address)
        try edit.setSourcePort(4242)
        try edit.setDestinationPort(53)
        edit.repairChecksums()
      }
      #expect(Reference.isHeaderRight(result))
      let (head, tail) = (try layout(result), try layout(last))
      let start = try #require(head.transportOffset)
      let whole = Array(result[..<start]) + result[start...] + last[tail.payloadOffset...]
      #expect(Reference.isTransportRight(whole, from: start, number: 17))
      #expect(throws: RewriteError.fragment) {
        _ = try edited(first, checksum: .partial) { try $0.setSourcePort(1) }
      }
      #expect(throws: RewriteError.fragment) {
        _ = try edited(first) { try $0.replacePayload(with: RawSpan()) }
      }
    }
  }

  @Test(arguments: [Captures.sourceRoute4, Captures.routed6, Captures.home6])
  func `a packet with an indirect address keeps its checksum`(bytes: [UInt8]) throws {
    #expect(throws: RewriteError.sourceRouted) {
      _ = try edited(bytes) { try $0.setDestinationPort(1) }
    }
    let found = try layout(bytes)
    let start = try #require(found.transportOffset)
    let result = try edited(bytes) { edit in
      edit.setTimeToLive(9)
      edit.repairChecksums()
    }
    #expect(Reference.isHeaderRight(result))
    #expect(result[start...] == bytes[start...])
    // The field of an unfinished checksum is the pseudo-header's sum: the rest's complement.
    let field = start + 6
    var segment = Array(bytes[start...])
    segment[6] = 0
    segment[7] = 0
    let seed = 0xffff * 2 - word(bytes, field) - Reference.sum(segment)
    let folded = seed > 0xffff ? seed - 0xffff : seed
    let partial = patched(bytes, (field, UInt8(folded >> 8)), (field + 1, UInt8(folded & 0xff)))
    let finished = try edited(partial, checksum: .partial) { $0.repairChecksums() }
    #expect(finished == bytes)
  }

  @Test func `protocols that cannot be repaired are refused`() throws {
    #expect(throws: RewriteError.unsupportedProtocol(51)) {
      _ = try edited(Captures.authenticated6) { try $0.setSourcePort(1) }
    }
    #expect(throws: RewriteError.unsupportedProtocol(132)) {
      _ = try edited(Captures.sctp4) { try $0.setSourcePort(1) }
    }
    #expect(throws: RewriteError.unsupportedProtocol(50)) {
      _ = try edited(Captures.esp4) { try $0.replacePayload(with: RawSpan()) }
    }
    #expect(throws: RewriteError.unsupportedProtocol(89)) {
      let ospf = patched(Captures.esp4, (9, 89))
      _ = try edited(ospf) { try $0.setSourceAddress(Self.new4) }
    }
    let moved = try edited(Captures.sctp4) { edit in
      try edit.setSourceAddress(Self.new4)
      edit.repairChecksums()
    }
    #expect(Reference.isHeaderRight(moved))
    #expect(moved[20...] == Captures.sctp4[20...])
    #expect(throws: RewriteError.badDSCP(64)) {
      _ = try edited(Captures.udp4) { try $0.setDSCP(64) }
    }
  }
}
