// SPDX-License-Identifier: Apache-2.0

extension PacketEdit {
  /// Puts the checksums of the IPv4 header and of TCP, UDP, ICMP or ICMPv6 right.
  ///
  /// They are computed anew from the whole packet, so that unfinished ones are finished. In a fragment
  /// only the IPv4 header's is, because changes there have kept the transport's. A UDP packet over
  /// IPv4 without checksum stays without, unless `fillingAbsentUDP` is true.
  @_lifetime(self: copy self)
  public mutating func repairChecksums(fillingAbsentUDP: Bool = false) {
    if layout.version == .v4 {
      let checksum = InternetChecksum.header(
        packet.slice(from: 0, length: layout.networkHeaderLength))
      bytes.storeBigEndian16(checksum, at: 10)
    }
    guard !layout.isFragment, let field = layout.checksumOffset,
      let start = layout.transportOffset
    else { return }
    let isAbsent =
      layout.transportProtocol == .udp && layout.version == .v4 && state == .complete
      && packet.bigEndian16(at: field) == 0
    if isAbsent, !fillingAbsentUDP { return }
    if layout.hasIndirectAddress(in: packet) {
      finishPartialChecksum(at: field, segment: start)
      return
    }
    let source = address(at: layout.version == .v4 ? 12 : 8)
    let destination = address(at: layout.version == .v4 ? 16 : 24)
    let checksum = InternetChecksum.transport(
      packet.slice(from: start, length: segmentEnd &- start),
      protocolNumber: layout.transportProtocol, source: source, destination: destination)
    bytes.storeBigEndian16(checksum ?? 0, at: field)
    state = .complete
  }

  /// Finishes a checksum from the pseudo-header sum in its field, which we could not compute.
  @_lifetime(self: copy self)
  private mutating func finishPartialChecksum(at field: Int, segment start: Int) {
    guard state == .partial else { return }
    var running = InternetChecksum()
    running.add(packet.slice(from: start, length: segmentEnd &- start))
    let checksum = running.value
    let isUDP = layout.transportProtocol == .udp
    bytes.storeBigEndian16(isUDP ? InternetChecksum.nonZero(checksum) : checksum, at: field)
    state = .complete
  }

  /// Refuses packets whose transport checksum or signature could not follow a change.
  func requireRepairable() throws(RewriteError) {
    if layout.fragmentOffset > 0 { throw .fragment }
    if layout.isFirstFragment, state == .partial { throw .fragment }
    if layout.isAuthenticated(in: packet) {
      throw .unsupportedProtocol(IPProtocol.authentication.rawValue)
    }
    if layout.hasIndirectAddress(in: packet) { throw .sourceRouted }
  }

  /// Changes the transport checksum of a first fragment, if it has one.
  @_lifetime(self: copy self)
  mutating func updateChecksum(_ update: (UInt16) -> UInt16) {
    guard let field = layout.checksumOffset else { return }
    let old = packet.bigEndian16(at: field)
    let isUDP = layout.transportProtocol == .udp
    if isUDP, old == 0 { return }
    let new = update(old)
    bytes.storeBigEndian16(isUDP ? InternetChecksum.nonZero(new) : new, at: field)
  }

  /// The address at `offset` as it is now.
  func address(at offset: Int) -> IPAddress {
    let packet = bytes.bytes
    guard layout.version == .v6 else { return IPAddress(v4: packet.bigEndian32(at: offset)) }
    return IPAddress(high: packet.bigEndian64(at: offset), low: packet.bigEndian64(at: offset &+ 8))
  }
}
