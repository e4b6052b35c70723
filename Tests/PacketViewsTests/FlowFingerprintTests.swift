// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct FlowFingerprintTests {
  static let flows = [Captures.udp4, Captures.tcp4, Captures.udp6, Captures.tcp6]

  @Test(arguments: flows)
  func `a fingerprint survives translation of one side only`(bytes: [UInt8]) throws {
    let before = try layout(bytes)
    let address = PacketEditTests.other(before.version)
    let source = try edited(bytes) { edit in
      try edit.setSourceAddress(address)
      try edit.setSourcePort(61000)
    }
    let destination = try edited(bytes) { edit in
      try edit.setDestinationAddress(address)
      try edit.setDestinationPort(61001)
    }
    let both = try edited(source) { edit in
      try edit.setDestinationAddress(address)
      try edit.setDestinationPort(61001)
    }
    let mark = before.flowFingerprint
    #expect(try layout(source).flowFingerprint.matches(mark))
    #expect(try layout(destination).flowFingerprint.matches(mark))
    #expect(try !layout(both).flowFingerprint.matches(mark))
    #expect(FlowFingerprint(rawValue: mark.rawValue) == mark)
    #expect(try layout(source).flowHash != before.flowHash)
  }

  @Test(arguments: flows + [Captures.icmp4, Captures.icmp6])
  func `a reply does not match`(bytes: [UInt8]) throws {
    let before = try layout(bytes)
    let reply = try edited(bytes) { edit in
      try edit.setSourceAddress(before.destinationAddress)
      try edit.setDestinationAddress(before.sourceAddress)
      guard before.hasPorts else { return }
      try edit.setSourcePort(before.destinationPort)
      try edit.setDestinationPort(before.sourcePort)
    }
    #expect(try !layout(reply).flowFingerprint.matches(before.flowFingerprint))
    #expect(try layout(reply).flowHash != before.flowHash)
  }

  @Test func `payload, hops and checksums do not count`() throws {
    let changed = try edited(Captures.udp4) { edit in
      edit.setTimeToLive(1)
      try edit.replacePayload(with: RawSpan())
      edit.repairChecksums()
    }
    let (old, new) = (try layout(Captures.udp4), try layout(changed))
    #expect(old.flowHash == new.flowHash && old.flowFingerprint == new.flowFingerprint)
  }

  @Test func `the echo identifier counts`() throws {
    let other = patched(Captures.icmp4, (24, 0))
    let (old, new) = (try layout(Captures.icmp4), try layout(other))
    #expect(!old.flowFingerprint.matches(new.flowFingerprint))
  }

  @Test func `later fragments match each other and not the first`() throws {
    let tail = try layout(Captures.lastFragment4)
    let other = try layout(patched(Captures.lastFragment4, (7, 1)))
    #expect(tail.flowFingerprint == other.flowFingerprint)
    #expect(try !layout(Captures.firstFragment4).flowFingerprint.matches(tail.flowFingerprint))
  }

  @Test func `neighbouring flows hash apart`() throws {
    var hashes: Set<UInt64> = []
    var matches = 0
    let mark = try layout(Captures.udp4).flowFingerprint
    for port in 0..<256 {
      for host in 0..<64 {
        let bytes = patched(
          Captures.udp4, (21, UInt8(port)), (23, UInt8(port ^ 0x55)), (15, UInt8(host + 3)),
          (19, UInt8(host + 70)))
        let found = try layout(bytes)
        hashes.insert(found.flowHash)
        if found.flowFingerprint.matches(mark) { matches += 1 }
      }
    }
    #expect(hashes.count == 256 * 64)
    #expect(matches < 6)
  }
}
