// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct ChecksumTests {
  @Test func `scapy's checksums are found valid`() throws {
    let unverifiable: Set = [
      "sourceRoute4", "firstFragment4", "lastFragment4", "firstTCPFragment4", "sctp4", "esp4",
      "igmp4", "routed6", "home6", "firstFragment6", "lastFragment6", "none6", "jumbo6",
    ]
    for (name, bytes) in Captures.packets {
      let found = try layout(bytes)
      let header = found.headerChecksumStatus(in: bytes.span.packetBytes)
      let transport = found.transportChecksumStatus(in: bytes.span.packetBytes)
      #expect(header == (found.version == .v4 ? .valid : .absent), "\(name)")
      let expected: ChecksumStatus =
        name == "noChecksum4" ? .absent : unverifiable.contains(name) ? .unverifiable : .valid
      #expect(transport == expected, "\(name)")
    }
  }

  @Test func `every flipped bit of header and payload is noticed`() throws {
    for bytes in [Captures.udp4, Captures.tcp4, Captures.icmp4, Captures.udp6, Captures.icmp6] {
      let found = try layout(bytes)
      for offset in found.payloadOffset..<bytes.count {
        let broken = patched(bytes, (offset, bytes[offset] ^ 1))
        let status = found.transportChecksumStatus(in: broken.span.packetBytes)
        #expect(status == .invalid)
      }
      guard found.version == .v4 else { continue }
      let broken = patched(bytes, (8, bytes[8] ^ 1))
      let status = found.headerChecksumStatus(in: broken.span.packetBytes)
      #expect(status == .invalid)
    }
  }

  @Test func `the fast sum equals the slow one at every length and alignment`() {
    var random = SeededGenerator(state: 3)
    let bytes = (0..<300).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    for start in 0..<9 {
      for count in 0...(bytes.count - start) {
        var running = InternetChecksum()
        running.add(bytes.span.packetBytes.slice(from: start, length: count))
        let value = Int(~running.value)
        let slow = Reference.sum(Array(bytes[start..<start + count]))
        #expect(value == slow)
      }
    }
  }

  @Test func `the longest packet of ones does not overflow`() {
    let bytes = [UInt8](repeating: 0xff, count: 65535)
    var running = InternetChecksum()
    running.add(bytes.span.packetBytes)
    #expect(Int(~running.value) == Reference.sum(bytes))
  }

  @Test func `incremental updates equal a new sum`() {
    var random = SeededGenerator(state: 5)
    for _ in 0..<5_000 {
      var bytes = (0..<40).map { _ in UInt8.random(in: .min ... .max, using: &random) }
      let before = InternetChecksum.checksum(bytes)
      let offset = Int.random(in: 0..<20, using: &random) * 2
      let old = UInt16(word(bytes, offset))
      let new = UInt16.random(in: .min ... .max, using: &random)
      bytes[offset] = UInt8(new >> 8)
      bytes[offset + 1] = UInt8(new & 0xff)
      #expect(
        InternetChecksum.updated(before, replacing: old, with: new)
          == InternetChecksum.checksum(bytes))
    }
  }

  @Test func `a UDP checksum of zero is sent as ones`() throws {
    // A payload word chosen so that the sum comes out as all ones.
    let base = patched(Captures.udp4, (28, 0), (29, 0))
    let found = try layout(base)
    let computed = found.transportChecksum(in: base.span.packetBytes)
    let checksum = try #require(computed)
    let bytes = patched(base, (28, UInt8(checksum >> 8)), (29, UInt8(checksum & 0xff)))
    let result = found.transportChecksum(in: bytes.span.packetBytes)
    #expect(result == 0xffff)
  }
}

extension InternetChecksum {
  static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var running = InternetChecksum()
    running.add(bytes.span.packetBytes)
    return running.value
  }
}
