// SPDX-License-Identifier: Apache-2.0

/// What `PacketLayout` keeps of the transport header.
@usableFromInline
struct TransportFields: BitwiseCopyable, Sendable, Equatable {
  @usableFromInline var payloadOffset: UInt16 = 0
  /// Where the payload ends; 0 = not known.
  @usableFromInline var payloadEnd: UInt32 = 0
  @usableFromInline var sourcePort: UInt16 = 0
  @usableFromInline var destinationPort: UInt16 = 0
  @usableFromInline var echoIdentifier: UInt16 = 0
  @usableFromInline var icmpType: UInt8 = 0
  @usableFromInline var icmpCode: UInt8 = 0
  @usableFromInline var tcpFlags: UInt8 = 0
  @usableFromInline var hasHeader = false
  @usableFromInline var hasPorts = false
  @usableFromInline var isICMP = false
  @usableFromInline var hasEchoIdentifier = false

  /// Fields with nothing read.
  @inlinable
  init() {}

  /// Takes in the header behind `network`, all of whose fields have been read from the same bytes.
  @inline(__always)
  mutating func read(_ bytes: RawSpan, behind network: NetworkFields) throws(MalformedPacket) {
    payloadOffset = network.dataOffset
    payloadEnd = network.totalLength
    let number = IPProtocol(rawValue: network.protocolNumber)
    guard network.fragmentOffset == 0, number != .none else { return }
    hasHeader = true
    switch number {
    case .udp: try readUDP(bytes, network)
    case .tcp: try readTCP(bytes, network)
    case .icmp where network.version == .v4: try readICMP(bytes, network, echo: 0, 8)
    case .icmpv6 where network.version == .v6: try readICMP(bytes, network, echo: 128, 129)
    case .sctp: try readPorts(bytes, network, headerLength: 12)
    case .udpLite: try readPorts(bytes, network, headerLength: 8)
    default: break
    }
  }

  /// Checks that the first `length` bytes of the header belong to the packet and were captured.
  @inline(__always)
  func require(_ length: Int, _ bytes: RawSpan, _ network: NetworkFields) throws(MalformedPacket) {
    let headerEnd = Int(network.dataOffset) &+ length
    guard headerEnd <= network.end else { throw .headerPastEnd(headerEnd) }
    guard headerEnd <= bytes.byteCount else { throw .truncated(needed: headerEnd) }
  }

  @inline(__always)
  mutating func readPorts(
    _ bytes: RawSpan, _ network: NetworkFields, headerLength: Int
  ) throws(MalformedPacket) {
    try require(headerLength, bytes, network)
    let ports = bytes.bigEndian32(at: Int(network.dataOffset))
    sourcePort = UInt16(truncatingIfNeeded: ports >> 16)
    destinationPort = UInt16(truncatingIfNeeded: ports)
    hasPorts = true
    payloadOffset = network.dataOffset &+ UInt16(truncatingIfNeeded: headerLength)
  }

  @inline(__always)
  mutating func readUDP(_ bytes: RawSpan, _ network: NetworkFields) throws(MalformedPacket) {
    try readPorts(bytes, network, headerLength: 8)
    let start = Int(network.dataOffset)
    let length = Int(bytes.bigEndian16(at: start &+ 4))
    if length == 0, network.totalLength == 0 { return }
    guard length >= 8 else { throw .badUDPLength(length) }
    // The length of a first fragment counts the fragments behind it too.
    guard !network.moreFragments else { return }
    guard start &+ length <= network.end else { throw .badUDPLength(length) }
    payloadEnd = UInt32(truncatingIfNeeded: start &+ length)
  }

  @inline(__always)
  mutating func readTCP(_ bytes: RawSpan, _ network: NetworkFields) throws(MalformedPacket) {
    try readPorts(bytes, network, headerLength: 20)
    let start = Int(network.dataOffset)
    let field = bytes.bigEndian16(at: start &+ 12)
    let length = Int(field >> 12) &* 4
    guard length >= 20, start &+ length <= network.end else { throw .badTCPHeaderLength(length) }
    tcpFlags = UInt8(truncatingIfNeeded: field)
    payloadOffset = UInt16(truncatingIfNeeded: start &+ length)
  }

  mutating func readICMP(
    _ bytes: RawSpan, _ network: NetworkFields, echo first: UInt8, _ second: UInt8
  ) throws(MalformedPacket) {
    try require(8, bytes, network)
    let start = Int(network.dataOffset)
    isICMP = true
    icmpType = bytes.byte(at: start)
    icmpCode = bytes.byte(at: start &+ 1)
    if icmpType == first || icmpType == second {
      hasEchoIdentifier = true
      echoIdentifier = bytes.bigEndian16(at: start &+ 4)
    }
    payloadOffset = network.dataOffset &+ 8
  }
}
