// SPDX-License-Identifier: Apache-2.0

/// Why bytes are not the packet they claim to be.
///
/// Offsets and lengths are in bytes.
public enum MalformedPacket: Error, Sendable, Hashable {
  /// The captured bytes end within a header; at least this many are needed to read on.
  case truncated(needed: Int)
  /// The version nibble is neither 4 nor 6, or not that of the view.
  case badVersion(UInt8)
  /// The IPv4 header length is below 20 bytes.
  case badHeaderLength(Int)
  /// The total length is smaller than the IP header.
  case badTotalLength(Int)
  /// A header ends at this offset, which is past the length the packet declares.
  case headerPastEnd(Int)
  /// More than `IPv6ExtensionHeaders.limit` extension headers, or a second fragment header.
  case badExtensionChain
  /// The UDP length is below 8 or past the end of the IP payload.
  case badUDPLength(Int)
  /// The TCP header length is below 20 bytes or past the end of the IP payload.
  case badTCPHeaderLength(Int)
  /// More VLAN tags than `EthernetHeader.tagLimit`.
  case tooManyVLANTags
  /// The ARP packet is not for IPv4 over Ethernet.
  case unsupportedARP
}

extension MalformedPacket: CustomStringConvertible {
  /// A sentence for logs.
  public var description: String {
    switch self {
    case .truncated(let needed): "captured bytes end within a header (at least \(needed) needed)"
    case .badVersion(let version): "unexpected IP version \(version)"
    case .badHeaderLength(let length): "IPv4 header length \(length) is below 20"
    case .badTotalLength(let length): "total length \(length) is smaller than the IP header"
    case .headerPastEnd(let end): "a header ends at \(end), past the end of the packet"
    case .badExtensionChain: "IPv6 extension header chain is too long or repeats a fragment header"
    case .badUDPLength(let length): "UDP length \(length) does not fit the packet"
    case .badTCPHeaderLength(let length): "TCP header length \(length) does not fit the packet"
    case .tooManyVLANTags: "too many stacked VLAN tags"
    case .unsupportedARP: "ARP packet is not for IPv4 over Ethernet"
    }
  }
}
