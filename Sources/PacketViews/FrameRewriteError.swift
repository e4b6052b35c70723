// SPDX-License-Identifier: Apache-2.0

/// Why a frame's MAC header was not rewritten.
public enum FrameRewriteError: Error, Sendable, Hashable {
  /// The MAC header cannot be read.
  case malformed(FrameMalformation)
  /// The frame has no MAC header: it is of a device that carries bare IP.
  case noMACHeader
  /// The buffer does not hold the MAC header.
  case truncated
  /// The sender would be a group.
  case groupSource(MACAddress)
  /// The number is a length or the protocol of a VLAN tag.
  case badEtherType(UInt16)
  /// The frame is an 802.3 one without an EtherType.
  case noEtherType
  /// The frame has no VLAN tag.
  case untagged
  /// The frame has `EthernetHeader.tagLimit` VLAN tags already.
  case tooManyTags
  /// The number is not the protocol of a VLAN tag.
  case badTagProtocol(UInt16)
  /// There is no room before the frame for another tag.
  case noRoom
  /// The replacement's length differs, which the kernel would not take.
  case headerLengthChanged(from: Int, to: Int)
  /// A bridge takes back new addresses, EtherType and outermost VLAN tag only.
  case notOnBridges
  /// One call stands for a whole chain, so no single frame can be rewritten.
  ///
  /// `STATUS_INVALID_PARAMETER`.
  case invalidParameter
}

extension FrameRewriteError: CustomStringConvertible {
  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .malformed(let reason): "frame is malformed: \(reason); drop it or let it pass unchanged"
    case .noMACHeader: "frame has no MAC header; rewrite frames of Ethernet devices only"
    case .truncated: "buffer does not hold the MAC header; give it up to the network header"
    case .groupSource(let address): "\(address) names a group; a sender is one station"
    case .badEtherType(let number):
      "0x\(String(number, radix: 16)) is no EtherType of a payload; use 0x600 and above, and "
        + "put VLAN tags on with pushTag"
    case .noEtherType: "frame is an 802.3 one without an EtherType; leave its type alone"
    case .untagged: "frame has no VLAN tag; put one on first"
    case .tooManyTags: "frame has \(EthernetHeader.tagLimit) VLAN tags already; take one off first"
    case .badTagProtocol(let number):
      "0x\(String(number, radix: 16)) is no VLAN tag's protocol; use 0x8100 or 0x88a8"
    case .noRoom: "no room before the frame; give a buffer with four bytes before it for each tag"
    case .headerLengthChanged(let old, let new):
      "MAC header would be \(new) bytes instead of \(old); keep its length"
    case .notOnBridges:
      "a bridged frame can get other addresses, another EtherType, a VLAN tag where it has none, or "
        + "another in the place of its only one; do the rest at a MAC layer of a port"
    case .invalidParameter:
      "a chain is decided as a whole; use a vector callout to rewrite single frames"
    }
  }
}

/// Refuses a MAC header that the kernel would not take in the place of `original`.
///
/// A bridge's queue takes a new header of the same length only. Corresponds to `NFQA_L2HDR`.
public func validateHeaderReplacement(
  original: RawSpan, replacement: RawSpan
) throws(FrameRewriteError) {
  guard original.byteCount == replacement.byteCount else {
    throw .headerLengthChanged(from: original.byteCount, to: replacement.byteCount)
  }
  guard replacement.byteCount >= 14 else { throw .truncated }
  let source = MACAddress(replacement, at: 6)
  guard !source.isMulticast else { throw .groupSource(source) }
}
