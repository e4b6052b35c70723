// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LinkLayer

/// What a packet socket gives and takes, as bytes.
struct FrameEnvelopeTests {
  /// `virtio header, prefix, frame`.
  private static func region(
    offload: [UInt8] = [UInt8](repeating: 0, count: 10), mark: UInt32 = 0, priority: UInt32 = 0,
    tag: UInt32 = 0, queue: UInt32 = 0, trail: UInt32 = 0, frame: [UInt8]
  ) -> [UInt8] {
    var bytes = offload
    for word in [mark, priority, tag, queue, trail] {
      bytes += (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
    }
    return bytes + frame
  }

  /// Opens an envelope; what is sent, what is seen, and what is said of it.
  private static func open(
    _ region: [UInt8], _ form: FrameForm = .ethernet
  ) -> (message: [UInt8], frame: [UInt8], envelope: FrameEnvelope)? {
    var region = region
    let envelope = region.withUnsafeMutableBytes { bytes -> FrameEnvelope? in
      var span = MutableRawSpan(_unsafeBytes: bytes)
      return .open(&span, form)
    }
    guard let envelope else { return nil }
    let end = envelope.frameStart + envelope.frameLength
    return (
      Array(region[envelope.messageStart..<end]), Array(region[envelope.frameStart..<end]), envelope
    )
  }

  private static let addresses: [UInt8] = [2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2]
  private static let plain = [UInt8](repeating: 0, count: 10)

  @Test(arguments: [14, 15, 20, 60, 1514])
  func `a frame without a tag beside it keeps its bytes`(_ length: Int) throws {
    let frame = Self.addresses + [0x88, 0xb5] + [UInt8](repeating: 7, count: length - 14)
    let opened = try #require(
      Self.open(
        Self.region(mark: 0x1234_5678, priority: 9, queue: 3, trail: 0x80, frame: frame)))
    #expect(opened.frame == frame)
    #expect(opened.message == Self.plain + frame)
    #expect(
      opened.envelope.metadata
        == FrameMetadata(
          mark: 0x1234_5678, priority: 9, queue: 3, trail: FrameTrail(rawValue: 0x80)))
  }

  @Test func `a tag beside the frame goes behind its addresses`() throws {
    let frame = Self.addresses + [8, 0, 0x45, 0, 0, 20]
    let opened = try #require(Self.open(Self.region(tag: 0x88a8_a064, frame: frame)))
    let tagged = Self.addresses + [0x88, 0xa8, 0xa0, 0x64, 8, 0, 0x45, 0, 0, 20]
    #expect(opened.frame == tagged)
    #expect(opened.message == Self.plain + tagged)
    #expect(opened.envelope.metadata.wasTagBeside)
  }

  @Test(arguments: [(0 as UInt32, 34), (0x8100_0005, 38)])
  func `offsets count from the frame's first byte`(_ tag: UInt32, _ start: Int) throws {
    // Partial checksum, TCP over IPv4, headers of 54 + 20, segments of 1448, sum at 34 + 20.
    let offload: [UInt8] = [1, 1, 74, 0, 0xa8, 5, 54, 0, 16, 0]
    let frame = Self.addresses + [8, 0] + [UInt8](repeating: 1, count: 60)
    let opened = try #require(Self.open(Self.region(offload: offload, tag: tag, frame: frame)))
    let found = opened.envelope.metadata.offload
    #expect(found.isChecksumPartial && found.isSegmentationPending)
    #expect(found.checksumStart == UInt16(start) && found.checksumOffset == 16)
    #expect(found.headerLength == UInt16(start + 20) && found.segmentSize == 1448)
    #expect(
      Array(opened.message.prefix(10)) == [
        1, 1, UInt8(start + 20), 0, 0xa8, 5, UInt8(start), 0, 16, 0,
      ])
  }

  @Test func `IP packets go back inbound behind a MAC header, outbound without`() throws {
    let packet: [UInt8] = [0x45, 0, 0, 21, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 9]
    let mac = [UInt8](repeating: 0, count: 12) + [8, 0]
    let offload: [UInt8] = [1, 0, 0, 0, 0, 0, 54, 0, 6, 0]
    let region = Self.region(offload: offload, frame: mac + packet)
    let inbound = try #require(Self.open(region, .rawIPInbound))
    #expect(inbound.frame == packet)
    #expect(inbound.message == [1, 0, 0, 0, 0, 0, 34, 0, 6, 0] + mac + packet)
    #expect(inbound.envelope.metadata.offload.checksumStart == 20)
    let outbound = try #require(Self.open(region, .rawIPOutbound))
    #expect(outbound.frame == packet)
    #expect(outbound.message == [1, 0, 0, 0, 0, 0, 20, 0, 6, 0] + packet)
  }

  @Test func `an IP packet gets its MAC header for the way through the helper`() throws {
    let packet = [0x60] + [UInt8](repeating: 0, count: 39)
    var region = Self.region(frame: [UInt8](repeating: 0xee, count: 14) + packet)
    let envelope = region.withUnsafeMutableBytes { bytes -> FrameEnvelope? in
      var span = MutableRawSpan(_unsafeBytes: bytes)
      guard var envelope = FrameEnvelope.open(&span, .rawIPOutbound) else { return nil }
      envelope.addLinkHeader(in: &span)
      return envelope
    }
    let start = try #require(envelope).messageStart
    #expect(
      Array(region[start...]) == Self.plain + [UInt8](repeating: 0, count: 12) + [0x86, 0xdd]
        + packet)
  }

  @Test(arguments: [FrameForm.ethernet, .rawIPInbound, .rawIPOutbound])
  func `what is cut anywhere is opened or refused, never read past its end`(_ form: FrameForm) {
    let whole = Self.region(tag: 0x8100_0001, frame: [UInt8](repeating: 0x45, count: 40))
    for length in 0...whole.count {
      let opened = Self.open(Array(whole.prefix(length)), form)
      if let opened {
        #expect(opened.envelope.frameStart + opened.envelope.frameLength == length)
      } else {
        #expect(length < 45)
      }
    }
  }
}
