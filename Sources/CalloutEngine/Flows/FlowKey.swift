// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// What the packets of a flow have in common, the same in both directions.
///
/// Of translated flows each form in which packets are met is a flow of its own.
public struct FlowKey: Sendable, Hashable, BitwiseCopyable {
  let firstHigh: UInt64
  let firstLow: UInt64
  let secondHigh: UInt64
  let secondLow: UInt64
  /// The ports in the addresses' order, then the protocol and the version.
  let rest: UInt64

  /// The flow between two ends.
  ///
  /// Ports are in host order; of ICMP echo both are the identifier.
  public init(
    _ source: IPAddress, _ destination: IPAddress, _ transportProtocol: IPProtocol,
    sourcePort: UInt16, destinationPort: UInt16
  ) {
    let isOrdered =
      source.high != destination.high
      ? source.high < destination.high
      : source.low != destination.low
        ? source.low < destination.low : sourcePort <= destinationPort
    let (first, second) = isOrdered ? (source, destination) : (destination, source)
    let (low, high) = isOrdered ? (sourcePort, destinationPort) : (destinationPort, sourcePort)
    firstHigh = first.high
    firstLow = first.low
    secondHigh = second.high
    secondLow = second.low
    rest =
      UInt64(low) << 32 | UInt64(high) << 16 | UInt64(transportProtocol.rawValue) << 8
      | UInt64(source.version.rawValue)
  }

  /// The packet's flow; nil for fragments and ICMP messages that are no echo, which have none.
  @inline(__always)
  public init?(_ layout: PacketLayout) {
    if layout.isFragment { return nil }
    var (source, destination) = (layout.sourcePort, layout.destinationPort)
    if layout.isICMP {
      guard let identifier = layout.echoIdentifier else { return nil }
      (source, destination) = (identifier, identifier)
    }
    self.init(
      layout.sourceAddress, layout.destinationAddress, layout.transportProtocol,
      sourcePort: source, destinationPort: destination)
  }

  /// Whether a packet of the flow goes from the first end to the second.
  @inline(__always)
  package func isForward(_ layout: PacketLayout) -> Bool {
    let source = layout.sourceAddress
    guard source.low == firstLow, source.high == firstHigh else { return false }
    let port = layout.echoIdentifier ?? layout.sourcePort
    return port == firstPort
  }

  var firstPort: UInt16 { UInt16(truncatingIfNeeded: rest >> 32) }
  var secondPort: UInt16 { UInt16(truncatingIfNeeded: rest >> 16) }
  var protocolNumber: UInt8 { UInt8(truncatingIfNeeded: rest >> 8) }

  /// Its ends as a packet from the first to the second has them.
  package var ends: (first: IPAddress, firstPort: UInt16, second: IPAddress, secondPort: UInt16) {
    (address(firstHigh, firstLow), firstPort, address(secondHigh, secondLow), secondPort)
  }

  /// The transport protocol.
  package var transportProtocol: IPProtocol { IPProtocol(rawValue: protocolNumber) }

  private func address(_ high: UInt64, _ low: UInt64) -> IPAddress {
    isIPv6
      ? IPAddress(high: high, low: low) : IPAddress(v4: UInt32(truncatingIfNeeded: low))
  }

  /// Whether the flow is of IPv6.
  package var isIPv6: Bool { UInt8(truncatingIfNeeded: rest) == IPVersion.v6.rawValue }

  /// Whether its ends are ports: it is of TCP or UDP.
  package var hasPorts: Bool { isTCP || protocolNumber == IPProtocol.udp.rawValue }

  /// Whether the flow is of TCP.
  package var isTCP: Bool { protocolNumber == IPProtocol.tcp.rawValue }

  /// A number that spreads flows evenly; keys that are chosen to collide share it only by chance,
  /// since `seed` is nobody's to know.
  @inline(__always)
  func hash(_ seed: UInt64) -> UInt64 {
    var value = seed
    value = Self.mix(value ^ firstHigh, firstLow ^ 0xa076_1d64_78bd_642f)
    value = Self.mix(value ^ secondHigh, secondLow ^ 0xe703_7ed1_a0b4_28db)
    return Self.mix(value ^ rest, 0x8ebc_6af0_9c88_c6e3)
  }

  @inline(__always)
  private static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }
}
