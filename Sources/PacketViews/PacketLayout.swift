// SPDX-License-Identifier: Apache-2.0

/// Where the parts of an IP packet are and what its headers say, found once per packet.
///
/// Plain integers in host order; offsets and lengths in bytes from the start of the IP header. The
/// headers must have been captured, the payload need not: `capturedLength` may be below
/// `totalLength`. Nothing is said of checksums.
public struct PacketLayout: BitwiseCopyable, Sendable, Equatable {
  @usableFromInline var network: NetworkFields
  @usableFromInline var transport: TransportFields

  /// Reads the headers of the IP packet at the start of `bytes`, which may be cut or padded.
  ///
  /// - Throws: `MalformedPacket` for headers that are cut or contradict themselves.
  @inlinable @inline(__always)
  public init(parsing bytes: RawSpan) throws(MalformedPacket) {
    network = NetworkFields()
    transport = TransportFields()
    try read(bytes)
  }

  /// In place: what is gathered elsewhere first is copied field by field, at twice the cost.
  @usableFromInline @inline(never)
  mutating func read(_ bytes: RawSpan) throws(MalformedPacket) {
    try network.read(bytes)
    try transport.read(bytes, behind: network)
  }
}

// MARK: - Network header

extension PacketLayout {
  /// The IP version.
  @inlinable public var version: IPVersion { network.version }

  /// The IP header without extension headers: 20 to 60 for IPv4, 40 for IPv6.
  @inlinable public var networkHeaderLength: Int { Int(network.headerLength) }

  /// The length the header declares; 0 when it is unknown (jumbograms, BIG TCP).
  @inlinable public var totalLength: Int { Int(network.totalLength) }

  /// How many bytes of the packet were parsed, without padding behind it.
  @inlinable public var capturedLength: Int { Int(network.capturedLength) }

  /// Whether the length is known and all of the packet was captured.
  @inlinable
  public var isCapturedWhole: Bool {
    network.totalLength != 0 && network.capturedLength == network.totalLength
  }

  /// Where the source address is.
  @inlinable
  public var sourceAddress: IPAddress {
    version == .v4
      ? IPAddress(v4: UInt32(truncatingIfNeeded: network.sourceLow))
      : IPAddress(high: network.sourceHigh, low: network.sourceLow)
  }

  /// The destination of the IP header, also when a routing header names a later one.
  @inlinable
  public var destinationAddress: IPAddress {
    version == .v4
      ? IPAddress(v4: UInt32(truncatingIfNeeded: network.destinationLow))
      : IPAddress(high: network.destinationHigh, low: network.destinationLow)
  }

  /// IPv4's time to live or IPv6's hop limit.
  @inlinable public var timeToLive: UInt8 { network.timeToLive }

  /// The differentiated services code point, 0 to 63.
  @inlinable public var dscp: UInt8 { network.trafficClass >> 2 }

  /// The two explicit congestion notification bits.
  @inlinable public var ecn: UInt8 { network.trafficClass & 3 }
}

// MARK: - Fragments

extension PacketLayout {
  /// Whether the packet is a fragment; an IPv6 "atomic fragment" is not.
  @inlinable
  public var isFragment: Bool { network.moreFragments || network.fragmentOffset != 0 }

  /// Whether the packet is the fragment that holds the transport header.
  @inlinable
  public var isFirstFragment: Bool { network.moreFragments && network.fragmentOffset == 0 }

  /// Where the fragment belongs in the original payload, in bytes.
  @inlinable public var fragmentOffset: Int { Int(network.fragmentOffset) }

  /// Whether more fragments follow this one.
  @inlinable public var moreFragments: Bool { network.moreFragments }

  /// What ties fragments together: 16 bits in IPv4, 32 in IPv6 (0 without a fragment header).
  @inlinable public var fragmentIdentification: UInt32 { network.identification }
}

// MARK: - Transport header

extension PacketLayout {
  /// The protocol behind the IP header and any IPv6 extension headers.
  @inlinable
  public var transportProtocol: IPProtocol { IPProtocol(rawValue: network.protocolNumber) }

  /// Where the transport header begins; nil in fragments other than the first and when none follows.
  @inlinable
  public var transportOffset: Int? { transport.hasHeader ? Int(network.dataOffset) : nil }

  /// Where the payload of TCP, UDP, UDP-Lite, SCTP or ICMP begins; for all else, what follows IP.
  @inlinable public var payloadOffset: Int { Int(transport.payloadOffset) }

  /// The payload's declared length in this packet, captured or not; nil when it is unknown.
  @inlinable
  public var payloadLength: Int? {
    transport.payloadEnd == 0 ? nil : Int(transport.payloadEnd) &- payloadOffset
  }

  /// Whether the packet has ports: TCP, UDP, UDP-Lite and SCTP, unless it is a later fragment.
  @inlinable public var hasPorts: Bool { transport.hasPorts }

  /// The source port; 0 without ports.
  @inlinable public var sourcePort: UInt16 { transport.sourcePort }

  /// The destination port; 0 without ports.
  @inlinable public var destinationPort: UInt16 { transport.destinationPort }

  /// Whether the packet has an ICMP (for IPv4) or ICMPv6 (for IPv6) header.
  @inlinable public var isICMP: Bool { transport.isICMP }

  /// The ICMP type; 0 when `isICMP` is false.
  @inlinable public var icmpType: UInt8 { transport.icmpType }

  /// The ICMP code; 0 when `isICMP` is false.
  @inlinable public var icmpCode: UInt8 { transport.icmpCode }

  /// Whether the packet is an ICMP or ICMPv6 error, which quotes the packet that it is about.
  @inlinable
  public var isICMPError: Bool { isICMP && ICMPHeader.isError(icmpType, version) }

  /// The identifier of an echo request or reply; nil for all else.
  @inlinable
  public var echoIdentifier: UInt16? {
    transport.hasEchoIdentifier ? transport.echoIdentifier : nil
  }

  /// The TCP flags; empty for all else.
  @inlinable public var tcpFlags: TCPFlags { TCPFlags(rawValue: transport.tcpFlags) }
}

// MARK: - Parts of the packet

extension PacketLayout {
  /// The transport header and all behind it, as far as captured; empty when there is none.
  @inlinable
  @_lifetime(copy packet)
  public func transportBytes(in packet: RawSpan) -> RawSpan {
    guard let start = transportOffset else { return packet.slice(from: 0, length: 0) }
    return packet.slice(from: start, length: segmentEnd &- start)
  }

  /// The payload as far as captured.
  @inlinable
  @_lifetime(copy packet)
  public func payload(in packet: RawSpan) -> RawSpan {
    packet.slice(from: payloadOffset, length: segmentEnd &- payloadOffset)
  }

  /// Where header and payload of the transport end: before any slack behind a UDP datagram.
  @inlinable
  var segmentEnd: Int { transport.payloadEnd == 0 ? .max : Int(transport.payloadEnd) }
}
