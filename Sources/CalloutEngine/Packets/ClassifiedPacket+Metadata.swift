// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
internal import PacketViews

/// Which members of the metadata a packet has, under WFP's bits.
///
/// Mirrors `FWPS_METADATA_FIELD_*`, of which those are named that can be there.
public struct MetadataFields: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The bits.
  public let rawValue: UInt32
  /// From bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// `PacketMetadata.dropReason`, at the discard layers.
  public static let discardReason = MetadataFields(rawValue: 0x1)
  /// `ipHeaderSize`.
  public static let ipHeaderSize = MetadataFields(rawValue: 0x4)
  /// `Classification.process`: the path of the program.
  public static let processPath = MetadataFields(rawValue: 0x8)
  /// `PacketMetadata.processID`.
  public static let processID = MetadataFields(rawValue: 0x20)
  /// `transportHeaderSize`.
  public static let transportHeaderSize = MetadataFields(rawValue: 0x400)
  /// The compartment, which is always 1.
  public static let compartmentID = MetadataFields(rawValue: 0x800)
  /// `fragmentData`.
  public static let fragmentData = MetadataFields(rawValue: 0x1000)
  /// `ClassifiedPacket.direction`.
  public static let packetDirection = MetadataFields(rawValue: 0x40000)
  /// `icmpIdentifierAndSequence`.
  public static let icmpIDAndSequence = MetadataFields(rawValue: 0x800_0000)
}

// A member is nil where WFP does not give it, so that it cannot be read without the check.
extension ClassifiedPacket {
  /// Where the layer's data begins, in bytes from the IP header.
  ///
  /// At the inbound layers it lies behind the headers that have been read on the way. Mirrors the
  /// data offset of the `NET_BUFFER`; `bytes` is what retreating reaches.
  public var dataOffset: Int {
    // Without a transport header the payload is what follows IP.
    let transport = layout.transportOffset ?? layout.payloadOffset
    switch hook {
    case .prerouting: return transport
    case .forward, .postrouting: return 0
    case .output: return transport
    case .input:
      if isAt(.inboundICMPErrorV4, .inboundICMPErrorV6) { return layout.payloadOffset }
      return layout.isICMP ? transport : layout.payloadOffset
    }
  }

  /// The packet from where the layer's data begins.
  public var data: RawSpan {
    @_lifetime(copy self) get { bytes.slice(from: dataOffset) }
  }

  /// The length of the IP header with its options or extension headers: at the IP packet layers and
  /// inbound transport.
  public var ipHeaderSize: Int? {
    switch hook {
    case .prerouting, .postrouting: layout.transportOffset ?? layout.payloadOffset
    case .input:
      isAt(.inboundTransportV4, .inboundTransportV6)
        ? layout.transportOffset ?? layout.payloadOffset : nil
    case .forward, .output: nil
    }
  }

  /// The length of the transport header, if there is one: at the transport layers and outbound IP
  /// packet.
  public var transportHeaderSize: Int? {
    guard let start = layout.transportOffset else { return nil }
    let isThere =
      hook == .postrouting || isAt(.inboundTransportV4, .inboundTransportV6)
      || isAt(.outboundTransportV4, .outboundTransportV6)
    return isThere ? layout.payloadOffset - start : nil
  }

  /// Where a fragment belongs and whether more follow it: at inbound IP packet, of fragments only.
  public var fragmentData: (offset: Int, hasMore: Bool)? {
    guard hook == .prerouting, layout.isFragment else { return nil }
    return (layout.fragmentOffset, layout.moreFragments)
  }

  /// The identifier and sequence number of an ICMP echo: at the transport layers.
  public var icmpIdentifierAndSequence: (identifier: UInt16, sequence: UInt16)? {
    guard
      isAt(.inboundTransportV4, .inboundTransportV6)
        || isAt(.outboundTransportV4, .outboundTransportV6),
      let identifier = layout.echoIdentifier
    else { return nil }
    return (identifier, layout.transportBytes(in: bytes).bigEndian16(at: 6))
  }

  /// Which of these members the packet has.
  ///
  /// Mirrors `currentMetadataValues`.
  public var metadataFields: MetadataFields {
    var present: MetadataFields = .compartmentID
    if direction != nil { present.insert(.packetDirection) }
    if metadata.dropReason != nil { present.insert(.discardReason) }
    if metadata.processID != nil { present.formUnion([.processID, .processPath]) }
    if ipHeaderSize != nil { present.insert(.ipHeaderSize) }
    if transportHeaderSize != nil { present.insert(.transportHeaderSize) }
    if fragmentData != nil { present.insert(.fragmentData) }
    if icmpIdentifierAndSequence != nil { present.insert(.icmpIDAndSequence) }
    return present
  }

  private func isAt(_ v4: Layer, _ v6: Layer) -> Bool {
    let place = layer.base ?? layer
    return place == v4 || place == v6
  }
}
