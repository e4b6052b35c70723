// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// How the frames of a device lie in the packet socket's memory, and how they go back.
enum FrameForm: Sendable, Hashable {
  /// With their MAC header.
  case ethernet
  /// IP packets, to be sent as they are.
  case rawIPOutbound
  /// IP packets, which go back through the helper and need a MAC header for that.
  case rawIPInbound
}

/// Where one frame lies in what the packet socket gave: `virtio header, prefix, frame`.
///
/// Opening it turns that, in place, into what a packet socket sends: `virtio header, frame`, with the
/// VLAN tag in the frame. No more than 22 bytes move.
struct FrameEnvelope: BitwiseCopyable {
  static let virtioBytes = 10
  /// `struct prefix` of `divert.h`.
  static let prefixBytes = 20
  static let macBytes = 14

  /// Where what is sent begins.
  var messageStart = 0
  /// Where the frame begins.
  var frameStart = 0
  var frameLength = 0
  var metadata = FrameMetadata()

  var messageLength: Int { frameStart &- messageStart &+ frameLength }
  /// What is sent before the frame and behind the virtio header.
  var linkHeaderLength: Int { frameStart &- messageStart &- Self.virtioBytes }

  /// Opens the envelope that `region` holds; nil if that is none.
  static func open(_ region: inout MutableRawSpan, _ form: FrameForm) -> FrameEnvelope? {
    let head = virtioBytes + prefixBytes
    let count = region.byteCount
    guard count > head + macBytes || (form == .ethernet && count >= head) else { return nil }
    var envelope = FrameEnvelope()
    let offload = FrameOffload(region.bytes, at: 0)
    let tag: UInt32 = region.bytes.host(virtioBytes + 8)
    envelope.metadata.mark = region.bytes.host(virtioBytes)
    envelope.metadata.priority = region.bytes.host(virtioBytes + 4)
    envelope.metadata.queue = UInt16(
      truncatingIfNeeded: region.bytes.host(virtioBytes + 12, as: UInt32.self))
    envelope.metadata.trail = FrameTrail(rawValue: region.bytes.host(virtioBytes + 16))
    switch form {
    case .ethernet:
      envelope.frameStart = head
      if tag != 0 {
        guard count >= head + 12 else { return nil }
        insert(tag, before: head, in: &region)
        envelope.metadata.wasTagBeside = true
        envelope.frameStart = head - 4
      }
      envelope.messageStart = envelope.frameStart - virtioBytes
    case .rawIPOutbound:
      envelope.frameStart = head + macBytes
      envelope.messageStart = envelope.frameStart - virtioBytes
    case .rawIPInbound:
      envelope.frameStart = head + macBytes
      envelope.messageStart = prefixBytes
    }
    envelope.frameLength = count - envelope.frameStart
    // Offsets counted from the prefix.
    envelope.metadata.offload = offload.shifted(by: virtioBytes - envelope.frameStart)
    envelope.store(envelope.metadata.offload, in: &region)
    return envelope
  }

  /// Writes the virtio header.
  func store(_ offload: FrameOffload, in region: inout MutableRawSpan) {
    let header = offload.shifted(by: linkHeaderLength)
    region.storeHost(header.flags, at: messageStart)
    region.storeHost(header.segmentation, at: messageStart &+ 1)
    region.storeHost(header.headerLength, at: messageStart &+ 2)
    region.storeHost(header.segmentSize, at: messageStart &+ 4)
    region.storeHost(header.checksumStart, at: messageStart &+ 6)
    region.storeHost(header.checksumOffset, at: messageStart &+ 8)
  }

  /// Gives an IP packet the MAC header that it needs to go through the helper.
  mutating func addLinkHeader(in region: inout MutableRawSpan) {
    guard linkHeaderLength == 0, frameStart >= Self.macBytes + Self.virtioBytes, frameLength > 0
    else { return }
    let version = region.bytes.byte(at: frameStart) >> 4
    region.storeHost(0 as UInt64, at: frameStart - 14)
    region.storeHost(0 as UInt32, at: frameStart - 6)
    let type = version == 6 ? EtherType.ipv6 : EtherType.ipv4
    region.storeHost(type.rawValue.bigEndian, at: frameStart - 2)
    messageStart = frameStart - Self.macBytes - Self.virtioBytes
    store(metadata.offload, in: &region)
  }

  /// Moves the addresses four bytes down and puts the tag behind them.
  private static func insert(_ tag: UInt32, before start: Int, in region: inout MutableRawSpan) {
    let first: UInt64 = region.bytes.host(start)
    let second: UInt32 = region.bytes.host(start &+ 8)
    region.storeHost(first, at: start &- 4)
    region.storeHost(second, at: start &+ 4)
    region.storeHost(tag.bigEndian, at: start &+ 8)
  }
}

extension FrameOffload {
  fileprivate init(_ bytes: RawSpan, at offset: Int) {
    self.init()
    flags = bytes.host(offset)
    segmentation = bytes.host(offset &+ 1)
    headerLength = bytes.host(offset &+ 2)
    segmentSize = bytes.host(offset &+ 4)
    checksumStart = bytes.host(offset &+ 6)
    checksumOffset = bytes.host(offset &+ 8)
  }
}
