// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct ReplacementTests {
  func check(_ original: [UInt8], _ replacement: [UInt8]) throws {
    try validateReplacement(
      original: original.span.packetBytes, replacement: replacement.span.packetBytes)
  }

  @Test func `every whole packet may replace itself`() throws {
    for (name, bytes) in Captures.packets where name != "jumbo6" { try check(bytes, bytes) }
  }

  @Test func `edits make valid replacements`() throws {
    for bytes in PacketEditTests.whole {
      let address = PacketEditTests.other(try layout(bytes).version)
      let result = try edited(bytes, room: 200) { edit in
        try edit.setSourceAddress(address)
        try edit.replacePayload(with: bytes.span.packetBytes)
        edit.repairChecksums()
      }
      try check(bytes, result)
    }
  }

  @Test func `another version or no packet at all is refused`() {
    #expect(throws: RewriteError.wrongVersion) { try check(Captures.udp4, Captures.udp6) }
    #expect(throws: RewriteError.malformed(.truncated(needed: 20))) { try check(Captures.udp4, []) }
    #expect(throws: RewriteError.malformed(.truncated(needed: 40))) { try check(Captures.udp6, []) }
    #expect(throws: RewriteError.malformed(.truncated(needed: 28))) {
      try check(Captures.options4, Array(Captures.options4[..<27]))
    }
  }

  @Test func `IPv4 header length and options must stay`() {
    #expect(throws: RewriteError.headerLengthChanged) {
      try check(Captures.options4, patched(Captures.options4, (0, 0x45)))
    }
    #expect(throws: RewriteError.optionsChanged) {
      try check(Captures.options4, patched(Captures.options4, (25, 0xee)))
    }
  }

  @Test func `the declared length must be the length`() {
    let long = Captures.udp4 + [0]
    #expect(throws: RewriteError.lengthMismatch(declared: 71, actual: 72)) {
      try check(Captures.udp4, long)
    }
    let short = Array(Captures.udp6.dropLast())
    #expect(throws: RewriteError.lengthMismatch(declared: 91, actual: 90)) {
      try check(Captures.udp6, short)
    }
  }

  @Test func `of the fragment field only don't-fragment may change`() throws {
    try check(Captures.udp4, patched(Captures.udp4, (6, 0x40)))
    for changed in [patched(Captures.udp4, (6, 0x20)), patched(Captures.udp4, (7, 1))] {
      #expect(throws: RewriteError.fragmentFieldChanged) { try check(Captures.udp4, changed) }
    }
  }

  @Test func `IPv6 next header and extension headers must stay`() {
    #expect(throws: RewriteError.nextHeaderChanged) {
      try check(Captures.udp6, patched(Captures.udp6, (6, 6)))
    }
    for offset in 40..<56 {
      let changed = patched(Captures.extensions6, (offset, Captures.extensions6[offset] ^ 0x80))
      #expect(throws: RewriteError.extensionHeadersChanged) {
        try check(Captures.extensions6, changed)
      }
    }
  }

  @Test func `an original cut behind its headers is enough`() throws {
    try check(Array(Captures.udp4[..<28]), Captures.udp4)
    try check(Array(Captures.extensions6[..<56]), Captures.extensions6)
  }

  @Test func `errors say what to do`() {
    #expect(RewriteError.truncated.description.contains("copy range"))
    #expect(
      RewriteError.malformed(.badVersion(9)).description
        == "packet is malformed: unexpected IP version 9; drop it or let it pass unchanged")
  }
}
