// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct MalformedPacketTests {
  @Test func `an empty capture is refused`() {
    #expect(throws: MalformedPacket.truncated(needed: 20)) { try layout([]) }
  }

  @Test func `a truncated IPv4 header is refused`() {
    let cut = Array(Captures.udp4[..<19])
    #expect(throws: MalformedPacket.truncated(needed: 20)) { try layout(cut) }
  }

  @Test func `truncated IPv4 options are refused`() {
    let cut = Array(Captures.options4[..<27])
    #expect(throws: MalformedPacket.truncated(needed: 28)) { try layout(cut) }
  }

  @Test func `a truncated IPv6 header is refused`() {
    let cut = Array(Captures.udp6[..<39])
    #expect(throws: MalformedPacket.truncated(needed: 40)) { try layout(cut) }
  }

  @Test func `a truncated extension header is refused`() {
    let cut = Array(Captures.extensions6[..<50])
    #expect(throws: MalformedPacket.truncated(needed: 56)) { try layout(cut) }
  }

  @Test func `a truncated transport header is refused`() {
    #expect(throws: MalformedPacket.truncated(needed: 28)) {
      try layout(Array(Captures.udp4[..<27]))
    }
    #expect(throws: MalformedPacket.truncated(needed: 40)) {
      try layout(Array(Captures.tcp4[..<39]))
    }
    #expect(throws: MalformedPacket.truncated(needed: 48)) {
      try layout(Array(Captures.icmp6[..<47]))
    }
  }

  @Test(arguments: [0, 3, 5, 15] as [UInt8])
  func `another version is refused`(version: UInt8) {
    let bytes = patched(Captures.udp4, (0, version << 4 | 5))
    #expect(throws: MalformedPacket.badVersion(version)) { try layout(bytes) }
  }

  @Test func `an IPv4 header length below five words is refused`() {
    let bytes = patched(Captures.udp4, (0, 0x44))
    #expect(throws: MalformedPacket.badHeaderLength(16)) { try layout(bytes) }
  }

  @Test(arguments: [0, 19] as [UInt8])
  func `a total length below the header length is refused`(length: UInt8) {
    let bytes = patched(Captures.udp4, (2, 0), (3, length))
    #expect(throws: MalformedPacket.badTotalLength(Int(length))) { try layout(bytes) }
  }

  @Test func `a transport header past the declared length is refused`() {
    #expect(throws: MalformedPacket.headerPastEnd(28)) {
      try layout(patched(Captures.udp4, (3, 27)))
    }
    #expect(throws: MalformedPacket.headerPastEnd(40)) {
      try layout(patched(Captures.tcp4, (3, 39)))
    }
    #expect(throws: MalformedPacket.headerPastEnd(48)) {
      try layout(patched(Captures.udp6, (5, 7)))
    }
    #expect(throws: MalformedPacket.headerPastEnd(56)) {
      try layout(patched(Captures.extensions6, (5, 15)))
    }
  }

  @Test(arguments: [0, 7, 52, 255] as [UInt8])
  func `a UDP length that does not fit is refused`(length: UInt8) {
    #expect(throws: MalformedPacket.badUDPLength(Int(length))) {
      try layout(patched(Captures.udp4, (24, 0), (25, length)))
    }
  }

  @Test func `a TCP data offset that does not fit is refused`() {
    #expect(throws: MalformedPacket.badTCPHeaderLength(16)) {
      try layout(patched(Captures.tcp4, (32, 0x40)))
    }
    #expect(throws: MalformedPacket.badTCPHeaderLength(60)) {
      try layout(patched(Captures.tcp4, (32, 0xf0), (2, 0), (3, 79)))
    }
  }

  @Test func `sixteen extension headers are read and seventeen refused`() throws {
    func chain(_ count: Int) -> [UInt8] {
      var bytes = Array(Captures.none6)
      bytes[5] = UInt8(count * 8)
      bytes[6] = 60
      for index in 0..<count { bytes += [index == count - 1 ? 59 : 60, 0, 1, 4, 0, 0, 0, 0] }
      return bytes
    }
    #expect(try layout(chain(16)).payloadOffset == 40 + 128)
    #expect(throws: MalformedPacket.badExtensionChain) { try layout(chain(17)) }
  }

  @Test func `a second fragment header is refused`() {
    var bytes = Captures.atomic6
    bytes.insert(contentsOf: [44, 0, 0, 0, 0, 0, 0, 1], at: 40)
    bytes[5] += 8
    let nested = bytes
    #expect(throws: MalformedPacket.badExtensionChain) { try layout(nested) }
  }

  @Test func `every capture cut at every length is an error or a layout within it`() throws {
    for (name, bytes) in Captures.packets {
      let whole = try layout(bytes)
      for count in 0...bytes.count {
        guard let cut = layoutOrNil(bytes, first: count) else {
          #expect(count < whole.payloadOffset, "\(name) at \(count)")
          continue
        }
        #expect(cut.capturedLength == count, "\(name) at \(count)")
        #expect(cut.sourceAddress == whole.sourceAddress)
        #expect(cut.payloadOffset == whole.payloadOffset)
        #expect(cut.flowHash == whole.flowHash)
        touchEverything(Array(bytes[..<count]))
      }
    }
  }

  @Test func `a hundred thousand random packets trap nowhere`() {
    var random = SeededGenerator(state: 0xca11)
    var parsed = 0
    for _ in 0..<100_000 {
      guard var bytes = Captures.packets.randomElement(using: &random)?.bytes else { continue }
      bytes = Array(bytes.prefix(160))
      for _ in 0..<Int.random(in: 0...6, using: &random) {
        let end = Bool.random(using: &random) ? bytes.count : min(bytes.count, 60)
        bytes[Int.random(in: 0..<end, using: &random)] = UInt8.random(
          in: .min ... .max, using: &random)
      }
      bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
      if touchEverything(bytes) { parsed += 1 }
    }
    #expect(parsed > 10_000)
  }

  @Test func `random bytes trap nowhere`() {
    var random = SeededGenerator(state: 7)
    for _ in 0..<20_000 {
      var bytes = (0..<Int.random(in: 0...120, using: &random)).map { _ in
        UInt8.random(in: .min ... .max, using: &random)
      }
      touchEverything(bytes)
      if !bytes.isEmpty { bytes[0] = Bool.random(using: &random) ? 0x45 : 0x60 }
      touchEverything(bytes)
    }
  }
}

/// Reads all there is to read and edits all there is to edit; whether the bytes have a layout.
@discardableResult
func touchEverything(_ bytes: [UInt8]) -> Bool {
  let packet = bytes.span.packetBytes
  touchViews(packet)
  guard let found = try? PacketLayout(parsing: packet) else { return false }
  _ = found.headerChecksumStatus(in: packet)
  _ = found.transportChecksumStatus(in: packet)
  _ = found.payload(in: packet).byteCount &+ found.transportBytes(in: packet).byteCount
  _ = found.flowFingerprint
  _ = try? validateReplacement(original: packet, replacement: packet)
  var scratch = bytes + [UInt8](repeating: 0, count: 8)
  var span = scratch.mutableSpan
  guard
    var edit = try? PacketEdit(span.mutablePacketBytes, length: bytes.count, layout: found)
  else { return true }
  edit.setTimeToLive(1)
  try? edit.setDSCP(1)
  try? edit.setSourceAddress(found.destinationAddress)
  try? edit.setDestinationPort(1)
  try? edit.replacePayload(with: bytes.span.packetBytes.slice(from: 0, length: 9))
  edit.repairChecksums()
  return true
}

private func touchViews(_ packet: RawSpan) {
  if let header = try? IPv4Header(packet) {
    var options = header.options
    while let option = options.next() { _ = option.value.byteCount }
    _ = header.isSourceRouted
    _ = header.payload.byteCount
  }
  if let header = try? IPv6Header(packet) {
    var walk = header.extensionHeaders
    while let next = try? walk.next() { _ = next.segmentsLeft }
    _ = header.payload.byteCount
  }
  if let header = try? TCPHeader(packet) {
    var options = header.options
    while let option = options.next() { _ = option.value.byteCount }
    _ = header.payload.byteCount
  }
  if let header = try? UDPHeader(packet) { _ = header.payload.byteCount }
  if let header = try? ICMPHeader(packet, version: .v6) { _ = header.payload.byteCount }
  if let header = try? EthernetHeader(packet) { _ = header.payload.byteCount }
  if let header = try? ARPPacket(packet) { _ = header.targetAddress }
}
