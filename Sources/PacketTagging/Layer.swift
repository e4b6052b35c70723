// SPDX-License-Identifier: Apache-2.0

/// A place in the stack at which packets are classified, under WFP's run-time id.
///
/// Mirrors `FWPS_LAYER_*`. A layer of IP packets is met at one netfilter hook, one of frames where
/// they are diverted or cross a bridge.
public enum Layer: UInt16, CaseIterable, Sendable, BitwiseCopyable {
  /// Arriving packets, before routing: PREROUTING.
  case inboundIPPacketV4 = 0
  /// Arriving packets, before routing: PREROUTING.
  case inboundIPPacketV6 = 2
  /// Leaving packets, before fragmentation: POSTROUTING.
  case outboundIPPacketV4 = 4
  /// Leaving packets, before fragmentation: POSTROUTING.
  case outboundIPPacketV6 = 6
  /// Packets routed through this host: FORWARD.
  case ipForwardV4 = 8
  /// Packets routed through this host: FORWARD.
  case ipForwardV6 = 10
  /// Whole packets for this host: INPUT.
  case inboundTransportV4 = 12
  /// Whole packets for this host: INPUT.
  case inboundTransportV6 = 14
  /// Packets of this host: OUTPUT.
  case outboundTransportV4 = 16
  /// Packets of this host: OUTPUT.
  case outboundTransportV6 = 18
  /// Stream data. No packet is indicated here, so nothing can be tagged.
  case streamV4 = 20
  /// Stream data. No packet is indicated here, so nothing can be tagged.
  case streamV6 = 22
  /// Arriving frames of Ethernet interfaces, behind their MAC headers.
  case inboundMACFrameEthernet = 56
  /// Leaving frames of Ethernet interfaces, after fragmentation.
  case outboundMACFrameEthernet = 57
  /// Arriving frames as the interface's own medium has them.
  case inboundMACFrameNative = 58
  /// Leaving frames as the interface's own medium has them.
  case outboundMACFrameNative = 59
  /// Frames that enter a bridge by one of its ports.
  case ingressVSwitchEthernet = 72
  /// Frames that leave a bridge by one of its ports.
  case egressVSwitchEthernet = 73

  /// The name in policy files and events ("outbound-transport-v4").
  public var name: String {
    switch self {
    case .inboundIPPacketV4: "inbound-ippacket-v4"
    case .inboundIPPacketV6: "inbound-ippacket-v6"
    case .outboundIPPacketV4: "outbound-ippacket-v4"
    case .outboundIPPacketV6: "outbound-ippacket-v6"
    case .ipForwardV4: "ipforward-v4"
    case .ipForwardV6: "ipforward-v6"
    case .inboundTransportV4: "inbound-transport-v4"
    case .inboundTransportV6: "inbound-transport-v6"
    case .outboundTransportV4: "outbound-transport-v4"
    case .outboundTransportV6: "outbound-transport-v6"
    case .streamV4: "stream-v4"
    case .streamV6: "stream-v6"
    case .inboundMACFrameEthernet: "inbound-mac-frame-ethernet"
    case .outboundMACFrameEthernet: "outbound-mac-frame-ethernet"
    case .inboundMACFrameNative: "inbound-mac-frame-native"
    case .outboundMACFrameNative: "outbound-mac-frame-native"
    case .ingressVSwitchEthernet: "ingress-vswitch-ethernet"
    case .egressVSwitchEthernet: "egress-vswitch-ethernet"
    }
  }

  /// The layer of that name.
  public init?(name: String) {
    guard let layer = Layer.allCases.first(where: { $0.name == name }) else { return nil }
    self = layer
  }

  /// Whether packets or frames, which can bear tags, are indicated here.
  public var indicatesPackets: Bool { hook != nil || indicatesFrames }

  /// The hook at which the layer is met, nil where no IP packets are indicated.
  public var hook: Hook? {
    switch self {
    case .inboundIPPacketV4, .inboundIPPacketV6: .prerouting
    case .inboundTransportV4, .inboundTransportV6: .input
    case .ipForwardV4, .ipForwardV6: .forward
    case .outboundTransportV4, .outboundTransportV6: .output
    case .outboundIPPacketV4, .outboundIPPacketV6: .postrouting
    case .streamV4, .streamV6: nil
    case .inboundMACFrameEthernet, .outboundMACFrameEthernet, .inboundMACFrameNative,
      .outboundMACFrameNative, .ingressVSwitchEthernet, .egressVSwitchEthernet:
      nil
    }
  }

  /// Whether IPv6 packets are indicated here; IPv4 ones or frames otherwise.
  @inlinable
  public var isIPv6: Bool { rawValue & 2 != 0 && rawValue < 24 }

  /// The layer that is met at `hook`.
  @inlinable
  public init(hook: Hook, isIPv6: Bool) {
    switch hook {
    case .prerouting: self = isIPv6 ? .inboundIPPacketV6 : .inboundIPPacketV4
    case .input: self = isIPv6 ? .inboundTransportV6 : .inboundTransportV4
    case .forward: self = isIPv6 ? .ipForwardV6 : .ipForwardV4
    case .output: self = isIPv6 ? .outboundTransportV6 : .outboundTransportV4
    case .postrouting: self = isIPv6 ? .outboundIPPacketV6 : .outboundIPPacketV4
    }
  }
}
