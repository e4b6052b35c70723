// SPDX-License-Identifier: Apache-2.0

/// A short mark of a packet's flow that survives address translation of one side.
///
/// The low 16 bits hash protocol, source address and source port, the high 16 bits protocol,
/// destination address and destination port; of ICMP echo messages, the identifier stands for both
/// ports. Two unrelated flows match by chance about once in 32,768.
///
/// Fragments other than the first have no ports and count as port 0: they match the other such
/// fragments of their flow, but not the first fragment nor the whole packet. Whoever follows a packet
/// through fragmentation must not compare across it.
public struct FlowFingerprint: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
  /// The destination's hash in the high 16 bits, the source's in the low ones.
  public let rawValue: UInt32

  /// Creates a fingerprint from a stored `rawValue`.
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Whether both may be of one flow in one direction of which at most one side was translated.
  @inlinable
  public func matches(_ other: FlowFingerprint) -> Bool {
    let difference = rawValue ^ other.rawValue
    return difference & 0xffff == 0 || difference >> 16 == 0
  }
}

extension PacketLayout {
  /// A hash of protocol, addresses and ports (or echo identifier) that differs per direction.
  ///
  /// The same in every process and on every machine; not safe against chosen collisions.
  @inlinable
  public var flowHash: UInt64 {
    FlowMixer.mix(sourceHash ^ FlowMixer.second, destinationHash ^ FlowMixer.third)
  }

  /// The fingerprint of the packet's flow.
  @inlinable
  public var flowFingerprint: FlowFingerprint {
    FlowFingerprint(
      rawValue: UInt32(truncatingIfNeeded: destinationHash >> 48) << 16
        | UInt32(truncatingIfNeeded: sourceHash >> 48))
  }

  /// A hash of what the fragments of one packet have in common: addresses, protocol, identification.
  ///
  /// Never 0.
  public var fragmentKey: UInt32 {
    let source = FlowMixer.end(
      network.sourceHigh, network.sourceLow, port: 0, protocolNumber: network.protocolNumber,
      seed: FlowMixer.first)
    let destination = FlowMixer.end(
      network.destinationHigh, network.destinationLow, port: 0,
      protocolNumber: network.protocolNumber, seed: UInt64(network.identification))
    return UInt32(truncatingIfNeeded: FlowMixer.mix(source, destination) >> 32) | 1
  }

  @inlinable
  var sourceHash: UInt64 {
    FlowMixer.end(
      network.sourceHigh, network.sourceLow, port: echoIdentifier ?? sourcePort,
      protocolNumber: network.protocolNumber, seed: FlowMixer.first)
  }

  @inlinable
  var destinationHash: UInt64 {
    FlowMixer.end(
      network.destinationHigh, network.destinationLow, port: echoIdentifier ?? destinationPort,
      protocolNumber: network.protocolNumber, seed: FlowMixer.second)
  }
}

extension PacketLayout {
  /// Tells a packet from others of its flow, wherever it is met: what neither routing nor address
  /// translation changes.
  ///
  /// 0 for fragments, which cannot be told.
  ///
  /// IPv4's identification where there is one, else TCP's sequence number, the first bytes of a
  /// datagram, or an ICMP header's rest.
  @inlinable
  public func digest(in packet: RawSpan) -> UInt16 {
    guard !isFragment, let offset = transportOffset else { return 0 }
    var value = UInt64(network.identification)
    if value == 0 {
      switch transportProtocol {
      case .tcp, .icmp, .icmpv6: value = UInt64(packet.bigEndian32(at: offset &+ 4))
      case .udp: value = packet.bigEndian64(at: offset &+ 8)
      default: value = packet.bigEndian64(at: offset)
      }
    }
    let mixed = FlowMixer.mix(value ^ FlowMixer.first, FlowMixer.third)
    return max(1, UInt16(truncatingIfNeeded: mixed))
  }
}

/// Multiply-and-fold mixing in the manner of wyhash.
@usableFromInline
enum FlowMixer {
  @inlinable static var first: UInt64 { 0xa076_1d64_78bd_642f }
  @inlinable static var second: UInt64 { 0xe703_7ed1_a0b4_28db }
  @inlinable static var third: UInt64 { 0x8ebc_6af0_9c88_c6e3 }

  @inlinable
  static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }

  @inlinable
  static func end(
    _ high: UInt64, _ low: UInt64, port: UInt16, protocolNumber: UInt8, seed: UInt64
  ) -> UInt64 {
    let tail = UInt64(port) << 8 | UInt64(protocolNumber)
    return mix(mix(high ^ seed, low ^ third), tail ^ first)
  }
}
