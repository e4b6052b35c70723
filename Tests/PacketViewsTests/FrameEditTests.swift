// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

/// The frame after an edit, in a buffer with `room` bytes before it.
func editedFrame(
  _ bytes: [UInt8], room: Int = 32, _ body: (inout FrameEdit) throws -> Void
) throws -> [UInt8] {
  var buffer = [UInt8](repeating: 0xee, count: room) + bytes
  let found = frameLayout(bytes)
  let (start, length): (Int, Int)
  do {
    var span = buffer.mutableSpan
    var edit = try FrameEdit(
      span.mutablePacketBytes, start: room, length: bytes.count, layout: found)
    try body(&edit)
    (start, length) = (edit.start, edit.length)
  }
  return Array(buffer[start..<start + length])
}

struct FrameEditTests {
  static let plain = Frames.ethernet()
  static let tagged = Frames.ethernet(tags: [0x8100_a064])
  static let snap = Frames.ethernet(
    type: UInt16(8 + Captures.udp4.count), [0xaa, 0xaa, 3, 0, 0, 0, 8, 0] + Captures.udp4)

  @Test func `addresses are set and nothing else changes`() throws {
    for bytes in [Self.plain, Self.tagged, Self.snap] {
      let result = try editedFrame(bytes) { edit in
        edit.setDestination(MACAddress(rawValue: 0xffff_ffff_ffff))
        try edit.setSource(MACAddress(rawValue: 0x0200_0000_0009))
      }
      #expect(result == [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9] + bytes[12...])
    }
  }

  @Test func `a group cannot be the sender`() throws {
    let group = MACAddress(rawValue: 0x0100_5e00_0001)
    var thrown: FrameRewriteError?
    let result = try editedFrame(Self.plain) { edit in
      do { try edit.setSource(group) } catch { thrown = error as? FrameRewriteError }
    }
    #expect(thrown == .groupSource(group) && result == Self.plain)
  }

  @Test func `the EtherType is set behind the tags, or in SNAP`() throws {
    let lldp = EtherType(rawValue: 0x88cc)
    for bytes in [Self.plain, Self.tagged, Self.snap] {
      let result = try editedFrame(bytes) { try $0.setEtherType(lldp) }
      #expect(frameLayout(result).etherType == lldp)
      #expect(zip(result, bytes).count { $0 != $1 } == 2)
      #expect(result.count == bytes.count)
    }
  }

  @Test(arguments: [0, 1500, 0x5ff, 0x8100, 0x88a8, 0x9100] as [UInt16])
  func `a length or a tag is no EtherType`(number: UInt16) {
    #expect(throws: FrameRewriteError.badEtherType(number)) {
      try editedFrame(Self.plain) { try $0.setEtherType(EtherType(rawValue: number)) }
    }
  }

  @Test func `a frame without an EtherType gets none`() {
    let bytes = Frames.ethernet(type: 38, [0x42, 0x42, 3] + [UInt8](repeating: 0, count: 43))
    #expect(throws: FrameRewriteError.noEtherType) {
      try editedFrame(bytes) { try $0.setEtherType(.ipv6) }
    }
  }

  @Test func `tags are put on, changed and taken off`() throws {
    let outer = VLANTag(.serviceVLAN, control: 0x2001)
    let twice = try editedFrame(Self.tagged) { try $0.pushTag(outer) }
    #expect(twice == Frames.ethernet(tags: [outer.rawValue, 0x8100_a064]))
    let changed = try editedFrame(twice) { try $0.setTagControl(0xe002) }
    #expect(changed == Frames.ethernet(tags: [0x88a8_e002, 0x8100_a064]))
    var taken: [VLANTag] = []
    let bare = try editedFrame(changed) { edit in
      taken.append(try edit.popTag())
      taken.append(try edit.popTag())
    }
    #expect(bare == Self.plain)
    #expect(taken.map(\.control) == [0xe002, 0xa064])
  }

  @Test func `one edit sees its own changes`() throws {
    let result = try editedFrame(Self.plain) { edit in
      try edit.pushTag(VLANTag(.vlan, control: 5))
      try edit.setEtherType(.ipv6)
      edit.setDestination(MACAddress(rawValue: 7))
      let (tag, count, target) = (edit.outerTag, edit.tagCount, edit.destination)
      #expect(tag?.control == 5 && count == 1 && target.rawValue == 7)
      let parsed = FrameLayout(parsing: edit.frame)
      #expect(parsed.etherType == .ipv6 && parsed.tagControl == 5)
    }
    #expect(result == Frames.ethernet(to: [0, 0, 0, 0, 0, 7], tags: [0x8100_0005], type: 0x86dd))
  }

  @Test func `what leaves no frame is refused and changes nothing`() throws {
    let full = Frames.ethernet(tags: [UInt32](repeating: 0x8100_0001, count: 8))
    let tag = VLANTag(.vlan, control: 1)
    for (bytes, room, expected, body) in [
      (full, 32, .tooManyTags, { edit in try edit.pushTag(tag) }),
      (Self.plain, 3, .noRoom, { edit in try edit.pushTag(tag) }),
      (
        Self.plain, 32, .badTagProtocol(0x0800),
        { edit in try edit.pushTag(VLANTag(.ipv4, control: 1)) }
      ),
      (Self.plain, 32, .untagged, { edit in try edit.popTag() }),
      (Self.plain, 32, .untagged, { edit in try edit.setTagControl(1) }),
    ] as [([UInt8], Int, FrameRewriteError, (inout FrameEdit) throws -> Void)] {
      var thrown: FrameRewriteError?
      let result = try editedFrame(bytes, room: room) { edit in
        do { try body(&edit) } catch { thrown = error as? FrameRewriteError }
      }
      #expect(thrown == expected)
      #expect(result == bytes)
    }
  }

  @Test func `a frame whose header cannot be read is not edited`() {
    for (bytes, expected) in [
      (Array(Self.plain[..<13]), .malformed(.headerCut)),
      (Array(Self.tagged[..<17]), .malformed(.tagCut)),
      (
        Frames.ethernet(tags: [UInt32](repeating: 0x8100_0001, count: 9)),
        .malformed(.tooManyTags)
      ),
    ] as [([UInt8], FrameRewriteError)] {
      #expect(throws: expected) { try editedFrame(bytes) { _ in } }
    }
    #expect(throws: FrameRewriteError.noMACHeader) { try Self.open(Captures.udp4, isRawIP: true) }
    for (start, length) in [(-1, 14), (0, 13), (200, 14), (0, 200), (.max, 14), (0, .max)] {
      #expect(throws: FrameRewriteError.truncated) {
        try Self.open(Self.plain, start: start, length: length)
      }
    }
  }

  static func open(
    _ bytes: [UInt8], start: Int = 0, length: Int? = nil, isRawIP: Bool = false
  ) throws {
    var copy = bytes
    let found =
      isRawIP ? FrameLayout(parsingRawIP: bytes.span.packetBytes) : frameLayout(bytes)
    var span = copy.mutableSpan
    _ = try FrameEdit(
      span.mutablePacketBytes, start: start, length: length ?? bytes.count, layout: found
    ).tagCount
  }

  @Test func `a payload outside the buffer stays where it is`() throws {
    let result = try editedFrame(Array(Self.tagged[..<18])) { try $0.popTag() }
    #expect(result == Array(Self.plain[..<14]))
  }

  @Test func `F78: a MAC header of the same length is accepted, of another refused`() throws {
    let old = Array(Self.plain[..<14])
    try Self.replace(old, patched(old, (5, 9), (11, 9)))
    #expect(throws: FrameRewriteError.headerLengthChanged(from: 14, to: 18)) {
      try Self.replace(old, Array(Self.tagged[..<18]))
    }
    #expect(throws: FrameRewriteError.headerLengthChanged(from: 14, to: 13)) {
      try Self.replace(old, Array(old[..<13]))
    }
    #expect(throws: FrameRewriteError.truncated) { try Self.replace([1, 2], [1, 2]) }
    let group = patched(old, (6, 1))
    #expect(throws: FrameRewriteError.self) { try Self.replace(old, group) }
  }

  static func replace(_ old: [UInt8], _ new: [UInt8]) throws {
    try validateHeaderReplacement(
      original: old.span.packetBytes, replacement: new.span.packetBytes)
  }

  @Test func `every error says what to do`() {
    for error in [
      .malformed(.tagCut), .noMACHeader, .truncated, .groupSource(MACAddress(rawValue: 1 << 40)),
      .badEtherType(5), .noEtherType, .untagged, .tooManyTags, .badTagProtocol(5), .noRoom,
      .headerLengthChanged(from: 14, to: 18), .invalidParameter,
    ] as [FrameRewriteError] {
      #expect(error.description.contains(";"), "\(error)")
    }
  }
}
