// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// What the kernel says of one queued packet, and where its bytes lie in the datagram.
///
/// All integers in host order, offsets and lengths in bytes.
public struct Indication: BitwiseCopyable, Sendable {
  /// What callouts get to see.
  public var metadata = PacketMetadata()
  /// The EtherType (0x0800, 0x86dd, ...).
  public var etherType: UInt16 = 0
  /// The netfilter hook (`NF_INET_*`, or `NF_BR_*` in the bridge family).
  public var hook: UInt8 = 0
  /// The hook's protocol family (2 IPv4, 10 IPv6, 7 bridge).
  public var family: UInt8 = 0
  /// Whether the packet is longer than what was copied.
  ///
  /// `NFQA_CAP_LEN`.
  public var isTruncated = false
  /// Where the packet's bytes start.
  public var payloadOffset: Int = 0
  /// How many of its bytes were copied.
  public var payloadLength: Int = 0
  /// Where the MAC header's bytes start.
  ///
  /// `NFQA_L2HDR`.
  public var linkHeaderOffset: Int = 0
  /// The MAC header's length, 0 if there is none.
  public var linkHeaderLength: Int = 0

  /// An indication with nothing set.
  @inlinable
  public init() {}

  /// Whether it is a frame on a bridge, of whatever protocol.
  ///
  /// `NFPROTO_BRIDGE`.
  @inlinable public var isBridged: Bool { family == 7 }

  /// The packet's id in its queue.
  ///
  /// `NFQA_PACKET_HDR`.
  @inlinable public var id: UInt32 { metadata.packetID }
}
