// SPDX-License-Identifier: Apache-2.0

/// What an ICMP error tells of the packet that it is about, mostly the first bytes of it.
public struct EmbeddedPacket: BitwiseCopyable, Sendable {
  private var network = NetworkFields()
  /// Its source and destination port, source first; nil if it has none or they were cut.
  public let ports: (source: UInt16, destination: UInt16)?

  /// Reads the head of a packet; nil if its IP header is cut or contradicts itself.
  public init?(parsing bytes: RawSpan) {
    do throws(MalformedPacket) { try network.read(bytes) } catch { return nil }
    let start = Int(network.dataOffset)
    let hasPorts =
      switch IPProtocol(rawValue: network.protocolNumber) {
      case .tcp, .udp, .udpLite, .sctp: network.fragmentOffset == 0
      default: false
      }
    ports =
      hasPorts && start &+ 4 <= bytes.byteCount
      ? (bytes.bigEndian16(at: start), bytes.bigEndian16(at: start &+ 2)) : nil
  }

  /// Its IP version.
  public var version: IPVersion { network.version }
  /// The protocol behind its IP header and extension headers.
  public var transportProtocol: IPProtocol { IPProtocol(rawValue: network.protocolNumber) }
  /// Who sent it.
  public var sourceAddress: IPAddress {
    version == .v4
      ? IPAddress(v4: UInt32(truncatingIfNeeded: network.sourceLow))
      : IPAddress(high: network.sourceHigh, low: network.sourceLow)
  }
  /// Whom it was for.
  public var destinationAddress: IPAddress {
    version == .v4
      ? IPAddress(v4: UInt32(truncatingIfNeeded: network.destinationLow))
      : IPAddress(high: network.destinationHigh, low: network.destinationLow)
  }
}

extension PacketLayout {
  /// The packet that an ICMP error is about; nil for all else, and where it cannot be read.
  public func embedded(in packet: RawSpan) -> EmbeddedPacket? {
    guard isICMPError else { return nil }
    return EmbeddedPacket(parsing: payload(in: packet))
  }
}
