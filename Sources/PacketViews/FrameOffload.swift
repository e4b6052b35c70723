// SPDX-License-Identifier: Apache-2.0

/// What the kernel has not finished in a frame, as it says it beside the bytes.
///
/// Offsets count from the frame's first byte, VLAN tags included. Corresponds to `virtio_net_hdr`.
public struct FrameOffload: BitwiseCopyable, Sendable, Hashable {
  /// Bit 0: the transport checksum is to be computed; bit 1: it has been verified.
  public var flags: UInt8 = 0
  /// How the frame will be cut: 0 not at all, 1 TCP over IPv4, 4 TCP over IPv6, 5 UDP; 0x80 with ECN.
  public var segmentation: UInt8 = 0
  /// The length of the headers that each segment repeats.
  public var headerLength: UInt16 = 0
  /// The payload of each segment.
  public var segmentSize: UInt16 = 0
  /// Where the checksum's data begins.
  public var checksumStart: UInt16 = 0
  /// Where it is stored, from there on.
  public var checksumOffset: UInt16 = 0

  /// Nothing is unfinished.
  public init() {}

  /// Whether the transport checksum is still to be computed.
  public var isChecksumPartial: Bool { flags & 1 != 0 }

  /// Whether the frame will be cut into segments.
  public var isSegmentationPending: Bool { segmentation != 0 }

  /// The same of a frame whose MAC header became longer by `bytes`, or shorter.
  public func shifted(by bytes: Int) -> FrameOffload {
    var result = self
    if isChecksumPartial {
      result.checksumStart = UInt16(clamping: Int(checksumStart) &+ bytes)
    }
    if isSegmentationPending { result.headerLength = UInt16(clamping: Int(headerLength) &+ bytes) }
    return result
  }
}
