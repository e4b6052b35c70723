// SPDX-License-Identifier: Apache-2.0

public import Kernel
public import PacketTagging
public import PacketViews

/// One frame on its way through `classify`: a borrowed view that cannot outlive the call.
///
/// Mirrors what `classifyFn` gets at the MAC layers as fixed values, metadata and layer data.
public struct ClassifiedFrame: ~Copyable, ~Escapable {
  /// The frame from its MAC header on, with all its VLAN tags.
  ///
  /// On interfaces without MAC headers it begins with the IP header. No bytes are ever changed here.
  public let bytes: RawSpan
  /// Where its headers lie and what they say.
  public let layout: FrameLayout
  /// The layer at which it is classified.
  public let layer: Layer
  /// What the kernel says of it.
  public let metadata: FrameMetadata
  @usableFromInline let pin = AddressPin()

  /// A view of a frame whose layout has been parsed from these bytes.
  @inlinable
  @_lifetime(copy bytes)
  public init(bytes: RawSpan, layout: FrameLayout, layer: Layer, metadata: FrameMetadata) {
    self.bytes = bytes
    self.layout = layout
    self.layer = layer
    self.metadata = metadata
  }

  /// The frame from where the layer's data begins: behind the MAC header at the inbound Ethernet
  /// layer, the whole frame at all others.
  ///
  /// Mirrors the data offset of the `NET_BUFFER`; `bytes` is what retreating reaches.
  public var data: RawSpan {
    @_lifetime(copy self) get { bytes.slice(from: ethernetMACHeaderSize ?? 0) }
  }

  /// The MAC header with its VLAN tags.
  public var macHeader: RawSpan {
    @_lifetime(copy self) get { layout.macHeader(in: bytes) }
  }

  /// The network header and all behind it.
  public var network: RawSpan {
    @_lifetime(copy self) get { layout.network(in: bytes) }
  }

  /// A hash of the frame's flow; of IP packets the same as at the IP layers.
  public var flowHash: UInt64 { layout.flowHash(in: bytes) }

  /// The bytes as an array of their own.
  package func copyBytes() -> [UInt8] {
    var copy = [UInt8](repeating: 0, count: bytes.byteCount)
    var span = copy.mutableSpan
    var target = span.mutablePacketBytes
    target.copyBytes(bytes, to: 0)
    return copy
  }
}

/// Which members of the layer-2 metadata a frame has, under WFP's bits.
///
/// Mirrors `FWPS_L2_METADATA_FIELD_*`.
public struct L2Metadata: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The bits.
  public let rawValue: UInt32
  /// From bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// `ethernetMACHeaderSize`.
  public static let ethernetMACHeaderSize = L2Metadata(rawValue: 0x01)
  /// The operation mode of native 802.11; never there.
  public static let wiFiOperationMode = L2Metadata(rawValue: 0x02)
  /// `vSwitchSourcePort`.
  public static let vSwitchSourcePort = L2Metadata(rawValue: 0x04)
  /// `vSwitchSourceNICIndex`.
  public static let vSwitchSourceNICIndex = L2Metadata(rawValue: 0x08)
  /// The switch's own packet context; never there.
  public static let vSwitchPacketContext = L2Metadata(rawValue: 0x10)
  /// `vSwitchDestinationPort`.
  public static let vSwitchDestinationPort = L2Metadata(rawValue: 0x20)
}

/// What else is known of a frame that arrived, under WFP's bits.
///
/// Mirrors `FWPS_L2_INCOMING_FLAG_*`.
public struct L2IncomingFlags: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The bits.
  public let rawValue: UInt32
  /// From bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// The frame is a bare IPv4 packet.
  public static let isRawIPv4Framing = L2IncomingFlags(rawValue: 1)
  /// The frame is a bare IPv6 packet.
  public static let isRawIPv6Framing = L2IncomingFlags(rawValue: 2)
  /// The frame is one more copy for another port of a bridge.
  public static let reclassifyMultiDestination = L2IncomingFlags(rawValue: 8)
}

// A member is nil where it is not valid, so that it cannot be read without the check.
extension ClassifiedFrame {
  /// How far before `data` the frame begins, at the inbound Ethernet layer only.
  public var ethernetMACHeaderSize: Int? {
    layer == .inboundMACFrameEthernet && layout.hasAddresses ? layout.networkOffset : nil
  }

  /// The port by which the frame entered the bridge, at the bridge's layers only.
  public var vSwitchSourcePort: UInt32? {
    layer.medium == .virtualSwitch && metadata.sourcePort != 0 ? metadata.sourcePort : nil
  }

  /// The card behind that port: always the first, at the bridge's layers only.
  public var vSwitchSourceNICIndex: UInt32? { vSwitchSourcePort == nil ? nil : 0 }

  /// The port by which the frame leaves the bridge, at the egress layer only.
  public var vSwitchDestinationPort: UInt32? {
    layer == .egressVSwitchEthernet && metadata.destinationPort != 0
      ? metadata.destinationPort : nil
  }

  /// Which of these members the frame has.
  ///
  /// Mirrors `currentL2MetadataValues`.
  public var l2Metadata: L2Metadata {
    var present: L2Metadata = []
    if ethernetMACHeaderSize != nil { present.insert(.ethernetMACHeaderSize) }
    if vSwitchSourcePort != nil { present.formUnion([.vSwitchSourcePort, .vSwitchSourceNICIndex]) }
    if vSwitchDestinationPort != nil { present.insert(.vSwitchDestinationPort) }
    return present
  }

  /// What else is known of it.
  public var l2IncomingFlags: L2IncomingFlags {
    var flags: L2IncomingFlags = []
    if layout.format == .rawIP, layout.etherType == .ipv4 { flags.insert(.isRawIPv4Framing) }
    if layout.format == .rawIP, layout.etherType == .ipv6 { flags.insert(.isRawIPv6Framing) }
    if layer.medium == .virtualSwitch, metadata.isFurtherCopy {
      flags.insert(.reclassifyMultiDestination)
    }
    return flags
  }
}
