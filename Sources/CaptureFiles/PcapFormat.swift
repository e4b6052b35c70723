// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// What all packets of a pcap file have in common.
struct PcapFormat {
  private let order: ByteOrder
  private let linkType: UInt32
  private let checksumBytes: Int

  /// The order of a file that begins with this number, read as a little-endian one; nil if it is no
  /// pcap file.
  static func order(of magic: UInt32) -> ByteOrder? {
    switch magic {
    case 0xa1b2_c3d4, 0xa1b2_3c4d: .little  // times in micro- and nanoseconds
    case 0xd4c3_b2a1, 0x4d3c_b2a1: .big
    default: nil
    }
  }

  /// Reads the rest of the file's header.
  init(_ order: ByteOrder, _ stream: inout ByteStream) throws(CaptureReadError) {
    self.order = order
    let header = try stream.bytes(20, of: "header", from: 0)
    guard order.number16(header, at: 0) == 2 else {
      throw .malformed("version \(order.number16(header, at: 0)), expected 2", at: 4)
    }
    let last = order.number32(header, at: 16)
    linkType = last & 0xffff
    checksumBytes = last & 0x0400_0000 == 0 ? 0 : Int(last >> 28) * 2
  }

  /// The next packet, nil at the end.
  func next(_ stream: inout ByteStream) throws(CaptureReadError) -> CapturedPacket? {
    let start = stream.position
    let header = try stream.bytes(16)
    if header.isEmpty { return nil }
    guard header.count == 16 else { throw .endsEarly(in: "packet header", at: start) }
    let captured = order.number32(header, at: 8)
    guard captured <= CaptureReader.longestFrame else {
      throw .malformed("a packet of \(captured) bytes", at: start)
    }
    return CapturedPacket(
      bytes: try stream.bytes(Int(captured), of: "packet", from: start),
      length: order.number32(header, at: 12), linkType: linkType, checksumBytes: checksumBytes)
  }
}
