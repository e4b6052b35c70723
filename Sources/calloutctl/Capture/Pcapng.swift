// SPDX-License-Identifier: Apache-2.0

/// Blocks of a pcapng file, in the byte order of this host.
///
/// Corresponds to draft-ietf-opsawg-pcapng.
enum Pcapng {
  /// One packet with what is told of it.
  struct Packet {
    /// The number of its interface, in the order of their blocks.
    var interface: UInt32
    /// Nanoseconds since 1970.
    var time: UInt64
    var bytes: [UInt8]
    var originalLength: UInt32
    var comments: [String]
    var isInbound: Bool
    /// The same for all blocks of one packet.
    var packetID: UInt64
    var queue: UInt32
    /// Whether it was let through; nil if that is not known.
    var isAccepted: Bool?
  }

  /// The block that begins a file.
  static func section(program: String) -> [UInt8] {
    block(0x0a0d_0d0a) { body in
      body.append(0x1a2b_3c4d as UInt32)
      body.append(1 as UInt16)
      body.append(0 as UInt16)
      body.append(UInt64.max)  // how long the section is, is not said
      body.option(4, Array(program.utf8))
      body.endOptions()
    }
  }

  /// A device, before its first packet; packets begin with their IP header.
  static func interface(name: String, snap: UInt32) -> [UInt8] {
    block(1) { body in
      body.append(101 as UInt16)  // LINKTYPE_RAW
      body.append(0 as UInt16)
      body.append(snap)
      body.option(2, Array(name.utf8))
      body.option(9, [9])  // times in nanoseconds
      body.endOptions()
    }
  }

  /// A packet.
  static func packet(_ packet: Packet) -> [UInt8] {
    block(6) { body in
      body.append(packet.interface)
      body.append(UInt32(truncatingIfNeeded: packet.time >> 32))
      body.append(UInt32(truncatingIfNeeded: packet.time))
      body.append(UInt32(truncatingIfNeeded: packet.bytes.count))
      body.append(packet.originalLength)
      body.append(padded: packet.bytes)
      for comment in packet.comments { body.option(1, text(comment)) }
      body.option(2, bytes(of: packet.isInbound ? 1 : 2 as UInt32))
      body.option(5, bytes(of: packet.packetID))
      body.option(6, bytes(of: packet.queue))
      if let isAccepted = packet.isAccepted {
        // There is no kind of verdict for NFQUEUE; 1 is traffic control's, TC_ACT_OK or TC_ACT_SHOT.
        body.option(7, [1] + bytes(of: isAccepted ? 0 : 2 as UInt64))
      }
      body.endOptions()
    }
  }

  /// How many packets of a device were written, and how many in all were lost, at the file's end.
  static func statistics(interface: UInt32, time: UInt64, written: UInt64, lost: UInt64) -> [UInt8]
  {
    block(5) { body in
      body.append(interface)
      body.append(UInt32(truncatingIfNeeded: time >> 32))
      body.append(UInt32(truncatingIfNeeded: time))
      body.option(4, bytes(of: written &+ lost))
      body.option(5, bytes(of: lost))
      body.endOptions()
    }
  }

  /// A text that fits into an option.
  private static func text(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard bytes.count > maximumText else { return bytes }
    // A character that was cut is replaced by one of three bytes at most.
    return Array(String(decoding: bytes[..<maximumText], as: UTF8.self).utf8) + Array("...".utf8)
  }

  /// The longest text of an option, less what is added to one that was cut.
  private static let maximumText = 65_520

  private static func block(_ type: UInt32, _ fill: (inout Body) -> Void) -> [UInt8] {
    var body = Body()
    fill(&body)
    let length = bytes(of: UInt32(body.bytes.count + 12))
    return bytes(of: type) + length + body.bytes + length
  }

  private static func bytes(of value: some FixedWidthInteger) -> [UInt8] {
    var body = Body()
    body.append(value)
    return body.bytes
  }

  private struct Body {
    var bytes: [UInt8] = []

    mutating func append<Value: FixedWidthInteger>(_ value: Value) {
      for index in 0..<Value.bitWidth / 8 {
        #if _endian(little)
        let shift = index * 8
        #else
        let shift = Value.bitWidth - 8 - index * 8
        #endif
        bytes.append(UInt8(truncatingIfNeeded: value >> shift))
      }
    }

    mutating func append(padded contents: [UInt8]) {
      bytes += contents
      while bytes.count % 4 != 0 { bytes.append(0) }
    }

    mutating func option(_ code: UInt16, _ contents: [UInt8]) {
      append(code)
      append(UInt16(truncatingIfNeeded: contents.count))
      append(padded: contents)
    }

    mutating func endOptions() { append(0 as UInt32) }
  }
}
