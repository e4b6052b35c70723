// SPDX-License-Identifier: Apache-2.0

import PacketViews

/// The layout of `bytes`; errors pass through.
func layout(_ bytes: [UInt8]) throws -> PacketLayout {
  try PacketLayout(parsing: bytes.span.packetBytes)
}

/// The layout of the first `count` bytes, or nil when they are malformed.
func layoutOrNil(_ bytes: [UInt8], first count: Int) -> PacketLayout? {
  try? PacketLayout(parsing: bytes.span.packetBytes.slice(from: 0, length: count))
}

/// Bytes after an edit of `bytes`, which get `room` more bytes of buffer.
func edited(
  _ bytes: [UInt8], room: Int = 0, captured: Int? = nil, checksum: ChecksumState = .complete,
  _ body: (inout PacketEdit) throws -> Void
) throws -> [UInt8] {
  var scratch = bytes + [UInt8](repeating: 0xee, count: room)
  let found = try layout(bytes)
  let length: Int
  do {
    var span = scratch.mutableSpan
    var edit = try PacketEdit(
      span.mutablePacketBytes, length: captured ?? bytes.count, layout: found, checksum: checksum)
    try body(&edit)
    length = edit.length
  }
  return Array(scratch[..<length])
}

/// `bytes` with some of them replaced.
func patched(_ bytes: [UInt8], _ changes: (Int, UInt8)...) -> [UInt8] {
  var copy = bytes
  for (offset, value) in changes { copy[offset] = value }
  return copy
}

func word(_ bytes: [UInt8], _ offset: Int) -> Int {
  Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
}

/// Obviously correct checksums, a word at a time.
enum Reference {
  static func sum(_ bytes: [UInt8]) -> Int {
    var total = 0
    let padded = bytes.count % 2 == 0 ? bytes : bytes + [0]
    for offset in stride(from: 0, to: padded.count, by: 2) {
      total += word(padded, offset)
      if total > 0xffff { total -= 0xffff }
    }
    return total
  }

  static func isHeaderRight(_ packet: [UInt8]) -> Bool {
    packet[0] >> 4 == 6 || sum(Array(packet[..<(Int(packet[0] & 15) * 4)])) == 0xffff
  }

  /// Whether the transport message from `start` on sums up, with its pseudo-header.
  static func isTransportRight(_ packet: [UInt8], from start: Int, number: UInt8) -> Bool {
    let end = number == 17 ? start + word(packet, start + 4) : packet.count
    let segment = Array(packet[start..<end])
    if number == 1 { return sum(segment) == 0xffff }
    let addresses = packet[0] >> 4 == 4 ? Array(packet[12..<20]) : Array(packet[8..<40])
    let length = [UInt8(segment.count >> 8 & 0xff), UInt8(segment.count & 0xff)]
    return sum(addresses + [0, number] + length + segment) == 0xffff
  }

  /// Whether both are right, where the layout says the transport is.
  static func isRight(_ packet: [UInt8]) throws -> Bool {
    let found = try layout(packet)
    guard let start = found.transportOffset, isHeaderRight(packet) else { return false }
    return isTransportRight(packet, from: start, number: found.transportProtocol.rawValue)
  }
}

/// SplitMix64: the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
