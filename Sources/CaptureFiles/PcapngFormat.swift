// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// What the blocks of a pcapng file's section have in common.
struct PcapngFormat {
  /// The type of the block that begins a section; the same in both orders.
  static let sectionHeader: UInt32 = 0x0a0d_0d0a

  private struct Interface {
    var linkType: UInt32
    var snap: UInt32
    var checksumBytes = 0
  }

  private static let mostInterfaces = 65536

  private var order = ByteOrder.little
  private var interfaces: [Interface] = []

  /// Reads a file's first block, whose type has been read.
  init(firstSectionOf stream: inout ByteStream) throws(CaptureReadError) {
    try beginSection(&stream, at: 0)
  }

  /// The next packet, nil at the end; blocks of other kinds are passed over.
  mutating func next(_ stream: inout ByteStream) throws(CaptureReadError) -> CapturedPacket? {
    while true {
      let start = stream.position
      let type = try stream.bytes(4)
      if type.isEmpty { return nil }
      guard type.count == 4 else { throw .endsEarly(in: "block", at: start) }
      if order.number32(type, at: 0) == Self.sectionHeader {
        try beginSection(&stream, at: start)
        continue
      }
      let length = order.number32(
        try stream.bytes(4, of: "block", from: start), at: 0)
      let body = try body(of: length, after: 8, &stream, at: start)
      switch order.number32(type, at: 0) {
      case 1: try addInterface(body, at: start)
      case 2: return try packet(body, of: order.number16(body, at: 0), at: start)
      case 3: return try simplePacket(body, at: start)
      case 6: return try packet(body, of: order.number32(body, at: 0), at: start)
      default: break
      }
    }
  }

  private mutating func beginSection(
    _ stream: inout ByteStream, at start: UInt64
  ) throws(CaptureReadError) {
    let head = try stream.bytes(8, of: "section header", from: start)
    switch ByteOrder.little.number32(head, at: 4) {
    case 0x1a2b_3c4d: order = .little
    case 0x4d3c_2b1a: order = .big
    default: throw .malformed("a section of no byte order", at: start)
    }
    let body = try body(of: order.number32(head, at: 0), after: 12, &stream, at: start)
    guard body.count >= 12, order.number16(body, at: 0) == 1 else {
      throw .malformed("a section of an unknown version", at: start)
    }
    interfaces = []
  }

  /// What is in a block, of which `read` bytes have been read, before its length comes again.
  private func body(
    of length: UInt32, after read: UInt32, _ stream: inout ByteStream, at start: UInt64
  ) throws(CaptureReadError) -> [UInt8] {
    guard length >= read + 4, length % 4 == 0, length <= CaptureReader.longestBlock else {
      throw .malformed("a block of \(length) bytes", at: start)
    }
    var body = try stream.bytes(Int(length - read), of: "block", from: start)
    guard order.number32(body, at: body.count - 4) == length else {
      throw .malformed("a block whose lengths differ", at: start)
    }
    body.removeLast(4)
    return body
  }

  private mutating func addInterface(
    _ body: [UInt8], at start: UInt64
  ) throws(CaptureReadError) {
    guard body.count >= 8, interfaces.count < Self.mostInterfaces else {
      throw .malformed("an interface that is none", at: start)
    }
    var interface = Interface(
      linkType: order.number16(body, at: 0), snap: order.number32(body, at: 4))
    var offset = 8
    while offset + 4 <= body.count {
      let code = order.number16(body, at: offset)
      let length = Int(order.number16(body, at: offset + 2))
      if code == 0 { break }
      // if_fcslen
      if code == 13, length == 1, offset + 4 < body.count {
        interface.checksumBytes = Int(body[offset + 4])
      }
      offset += 4 + (length + 3) / 4 * 4
    }
    interfaces.append(interface)
  }

  /// A packet of an enhanced block, or of its forerunner, which has its fields at the same places.
  private func packet(
    _ body: [UInt8], of number: UInt32, at start: UInt64
  ) throws(CaptureReadError) -> CapturedPacket {
    let captured = order.number32(body, at: 12)
    guard body.count >= 20, captured <= UInt32(clamping: body.count - 20) else {
      throw .malformed("a packet that is longer than its block", at: start)
    }
    return try packet(
      body[20..<20 + Int(captured)], order.number32(body, at: 16), number, at: start)
  }

  private func simplePacket(
    _ body: [UInt8], at start: UInt64
  ) throws(CaptureReadError) -> CapturedPacket {
    guard body.count >= 4 else { throw .malformed("a packet without its length", at: start) }
    let length = order.number32(body, at: 0)
    let snap = interfaces.first.map { $0.snap == 0 ? .max : $0.snap } ?? .max
    let captured = min(length, snap)
    guard captured <= UInt32(clamping: body.count - 4) else {
      throw .malformed("a packet that is longer than its block", at: start)
    }
    return try packet(body[4..<4 + Int(captured)], length, 0, at: start)
  }

  private func packet(
    _ bytes: ArraySlice<UInt8>, _ length: UInt32, _ number: UInt32, at start: UInt64
  ) throws(CaptureReadError) -> CapturedPacket {
    guard bytes.count <= Int(CaptureReader.longestFrame) else {
      throw .malformed("a packet of \(bytes.count) bytes", at: start)
    }
    guard number < UInt32(clamping: interfaces.count) else {
      throw .malformed("a packet of an interface that is not described", at: start)
    }
    let interface = interfaces[Int(number)]
    return CapturedPacket(
      bytes: Array(bytes), length: length, linkType: interface.linkType,
      checksumBytes: interface.checksumBytes)
  }
}
