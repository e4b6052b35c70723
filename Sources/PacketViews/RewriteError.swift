// SPDX-License-Identifier: Apache-2.0

/// Why a packet was not rewritten.
///
/// Lengths are in bytes.
public enum RewriteError: Error, Sendable, Hashable {
  /// The packet was not captured whole.
  case truncated
  /// The packet does not say how long it is: a jumbogram or a BIG TCP segment.
  case unknownLength
  /// An address or a replacement of the other IP version.
  case wrongVersion
  /// The packet has no ports.
  case noPorts
  /// The packet is a fragment whose checksum cannot be put right.
  case fragment
  /// The pseudo-header holds an address of a source route or mobility option.
  case sourceRouted
  /// The checksum or signature of this protocol cannot be put right.
  case unsupportedProtocol(UInt8)
  /// A code point above 63.
  case badDSCP(UInt8)
  /// The packet would have this length, which is above 65535.
  case tooLong(Int)
  /// The packet would have this length, which is more than the buffer holds.
  case noRoom(Int)
  /// The headers of a packet cannot be read.
  case malformed(MalformedPacket)
  /// The replacement's IPv4 header length differs.
  case headerLengthChanged
  /// The replacement's IPv4 options differ.
  case optionsChanged
  /// The replacement's header declares a length that is not its own.
  case lengthMismatch(declared: Int, actual: Int)
  /// The replacement's fragment offset or more-fragments flag differs.
  case fragmentFieldChanged
  /// The replacement's IPv6 next header differs.
  case nextHeaderChanged
  /// The replacement's IPv6 extension headers differ.
  case extensionHeadersChanged
}

extension RewriteError: CustomStringConvertible {
  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .truncated:
      "packet was not captured whole; raise the queue's copy range to 65531"
    case .unknownLength:
      "packet is longer than its length field can say; lower the interface's GSO size to 65536"
    case .wrongVersion:
      "IP version differs from the packet's; use an address or packet of the same version"
    case .noPorts:
      "packet has no ports; rewrite ports of TCP and UDP only"
    case .fragment:
      "packet is a fragment; rewrite it where the kernel has reassembled it (nf_defrag)"
    case .sourceRouted:
      "packet is source-routed or mobile; leave its addresses, ports and payload alone"
    case .unsupportedProtocol(let number):
      "checksum of protocol \(number) cannot be repaired; rewrite TCP, UDP and ICMP only"
    case .badDSCP(let value):
      "DSCP \(value) does not exist; use 0 to 63"
    case .tooLong(let length):
      "packet would be \(length) bytes long; shorten the payload to stay within 65535"
    case .noRoom(let length):
      "packet would be \(length) bytes long; give a buffer of at least that size"
    case .malformed(let reason):
      "packet is malformed: \(reason); drop it or let it pass unchanged"
    case .headerLengthChanged:
      "IPv4 header length changed; keep the original header length"
    case .optionsChanged:
      "IPv4 options changed; keep the original options"
    case .lengthMismatch(let declared, let actual):
      "header declares \(declared) bytes but the packet has \(actual); set the length field"
    case .fragmentFieldChanged:
      "fragment offset or flags changed; only the don't-fragment flag may change"
    case .nextHeaderChanged:
      "IPv6 next header changed; keep the original protocol"
    case .extensionHeadersChanged:
      "IPv6 extension headers changed; keep the original ones"
    }
  }
}
