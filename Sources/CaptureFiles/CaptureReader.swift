// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// Reads the frames of a pcap or pcapng file, one after the other.
///
/// Whatever is in the file, memory is bounded and nothing traps. Corresponds to
/// draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
public struct CaptureReader: ~Copyable {
  private enum Format {
    case pcap(PcapFormat)
    case pcapng(PcapngFormat)
  }

  /// The longest frame, and the longest block of a file.
  static let longestFrame: UInt32 = 1 << 18
  static let longestBlock: UInt32 = 1 << 24

  private var stream: ByteStream
  private var format: Format
  /// How many frames have been read.
  public private(set) var count = 0

  /// Opens a file; "-" is standard input.
  public init(at path: String) throws(CaptureReadError) {
    let stream: ByteStream
    do { stream = try ByteStream(at: path) } catch { throw .system(error) }
    try self.init(stream)
  }

  /// Reads a file's bytes.
  public init(_ bytes: [UInt8]) throws(CaptureReadError) { try self.init(ByteStream(bytes)) }

  private init(_ stream: consuming ByteStream) throws(CaptureReadError) {
    var stream = stream
    let start = try stream.bytes(4)
    let magic = ByteOrder.little.number32(start, at: 0)
    if magic == PcapngFormat.sectionHeader {
      format = .pcapng(try PcapngFormat(firstSectionOf: &stream))
    } else if let order = PcapFormat.order(of: magic) {
      format = .pcap(try PcapFormat(order, &stream))
    } else {
      throw .notACapture(start)
    }
    self.stream = stream
  }

  /// The next frame, nil at the end.
  public mutating func next() throws(CaptureReadError) -> CapturedFrame? {
    let packet: CapturedPacket?
    switch format {
    case .pcap(let pcap): packet = try pcap.next(&stream)
    case .pcapng(var pcapng):
      packet = try pcapng.next(&stream)
      format = .pcapng(pcapng)
    }
    guard let packet else { return nil }
    count += 1
    guard UInt32(clamping: packet.bytes.count) >= packet.length else {
      throw .cut(
        frame: count, captured: UInt32(clamping: packet.bytes.count), of: packet.length)
    }
    let form: CapturedFrame.Form
    switch packet.linkType {
    case 1: form = .ethernet
    case 12, 14, 101, 228, 229: form = .ip
    default: throw .wrongLinkType(packet.linkType, frame: count)
    }
    return CapturedFrame(packet.bytes.dropLast(packet.checksumBytes), form: form)
  }
}

extension CapturedFrame {
  fileprivate init(_ bytes: ArraySlice<UInt8>, form: Form) { self.init(Array(bytes), form: form) }
}

/// A packet as a file holds it.
struct CapturedPacket {
  var bytes: [UInt8]
  /// How long it was, of which less may have been captured.
  var length: UInt32
  /// `LINKTYPE_*`.
  var linkType: UInt32
  /// How many bytes at the end are the frame's checksum, which devices add by themselves.
  var checksumBytes = 0
}

/// How a file's numbers are written.
enum ByteOrder {
  case little, big

  /// The number of 16 bits at an offset, 0 where there are none.
  func number16(_ bytes: [UInt8], at offset: Int) -> UInt32 { number(bytes, offset, 2) }

  /// The number of 32 bits at an offset, 0 where there are none.
  func number32(_ bytes: [UInt8], at offset: Int) -> UInt32 { number(bytes, offset, 4) }

  private func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt32 {
    guard offset >= 0, offset + count <= bytes.count else { return 0 }
    var value: UInt32 = 0
    for index in 0..<count {
      let byte = bytes[offset + (self == .big ? index : count - 1 - index)]
      value = value << 8 | UInt32(byte)
    }
    return value
  }
}

extension ByteStream {
  /// The next bytes, fewer at the end.
  mutating func bytes(_ count: Int) throws(CaptureReadError) -> [UInt8] {
    do { return try take(count) } catch { throw .system(error) }
  }

  /// The next bytes, all of them.
  mutating func bytes(
    _ count: Int, of what: String, from start: UInt64
  ) throws(CaptureReadError) -> [UInt8] {
    let bytes = try bytes(count)
    guard bytes.count == count else { throw .endsEarly(in: what, at: start) }
    return bytes
  }
}
