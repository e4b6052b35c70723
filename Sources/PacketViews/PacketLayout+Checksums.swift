// SPDX-License-Identifier: Apache-2.0

/// What can be said of a checksum in a packet.
public enum ChecksumStatus: Sendable, Hashable, BitwiseCopyable {
  /// It is right.
  case valid
  /// It is wrong, or the sender left it for the network card to finish.
  case invalid
  /// The packet has none: IPv6's header, or UDP with 0.
  case absent
  /// It cannot be told: a fragment, a packet not captured whole, a source route, another protocol.
  case unverifiable
}

extension PacketLayout {
  /// Checks the IPv4 header checksum of the packet that this layout was made from.
  public func headerChecksumStatus(in packet: RawSpan) -> ChecksumStatus {
    guard version == .v4 else { return .absent }
    guard packet.byteCount >= networkHeaderLength else { return .unverifiable }
    var running = InternetChecksum()
    running.add(packet.slice(from: 0, length: networkHeaderLength))
    return running.value == 0 ? .valid : .invalid
  }

  /// Checks the TCP, UDP, ICMP or ICMPv6 checksum of the packet that this layout was made from.
  public func transportChecksumStatus(in packet: RawSpan) -> ChecksumStatus {
    guard let expected = transportChecksum(in: packet), let field = checksumOffset else {
      return .unverifiable
    }
    let found = packet.bigEndian16(at: field)
    if transportProtocol == .udp, found == 0 { return .absent }
    return found == expected ? .valid : .invalid
  }

  /// The right TCP, UDP, ICMP or ICMPv6 checksum; nil where it cannot be computed.
  public func transportChecksum(in packet: RawSpan) -> UInt16? {
    guard !isFragment, isCapturedWhole, packet.byteCount >= segmentEnd,
      !hasIndirectAddress(in: packet)
    else { return nil }
    return InternetChecksum.transport(
      transportBytes(in: packet), protocolNumber: transportProtocol, source: sourceAddress,
      destination: destinationAddress)
  }

  /// Where the transport checksum is in the packet; nil when there is none that we compute.
  var checksumOffset: Int? {
    guard let start = transportOffset,
      let field = InternetChecksum.fieldOffset(transportProtocol, over: version)
    else { return nil }
    return start &+ field
  }

  /// Whether the pseudo-header holds an address that is not in the IP header: a source route with
  /// hops left, or a mobile node's home address.
  func hasIndirectAddress(in packet: RawSpan) -> Bool {
    if version == .v4 {
      guard networkHeaderLength > 20, let header = try? IPv4Header(packet) else { return false }
      return header.isSourceRouted
    }
    guard Int(network.dataOffset) > 40 else { return false }
    var walk = IPv6ExtensionHeaders(packet: packet, end: .max)
    while let header = try? walk.next() {
      if header.segmentsLeft > 0 || header.hasHomeAddress { return true }
    }
    return false
  }

  /// Whether an authentication header protects the packet, in which only a few fields may change.
  func isAuthenticated(in packet: RawSpan) -> Bool {
    guard version == .v6 else { return transportProtocol == .authentication }
    guard Int(network.dataOffset) > 40 else { return false }
    var walk = IPv6ExtensionHeaders(packet: packet, end: .max)
    while let header = try? walk.next() {
      if header.type == .authentication { return true }
    }
    return false
  }
}

extension IPv6ExtensionHeader {
  /// Whether the destination options hold a home address (RFC 6275), the real source.
  var hasHomeAddress: Bool {
    guard type == .destinationOptions else { return false }
    var offset = 2
    while let option = bytes.loadByte(at: offset) {
      if option == 0xc9 { return true }
      // Pad1 is a byte without a length.
      offset &+= option == 0 ? 1 : Int(bytes.byte(at: offset &+ 1)) &+ 2
    }
    return false
  }
}
