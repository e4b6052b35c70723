// SPDX-License-Identifier: Apache-2.0

/// A place in the stack at which packets are classified, under WFP's run-time id.
///
/// Mirrors `FWPS_LAYER_*`. A layer of IP packets is met at a netfilter hook, of which some have several
/// layers; one of frames where they are diverted or cross a bridge; a discard layer where a packet of
/// its base layer was dropped.
public enum Layer: UInt16, CaseIterable, Sendable, BitwiseCopyable {
  /// Arriving packets, before routing: PREROUTING.
  case inboundIPPacketV4 = 0
  /// What was dropped at `inboundIPPacketV4`.
  case inboundIPPacketV4Discard = 1
  /// Arriving packets, before routing: PREROUTING.
  case inboundIPPacketV6 = 2
  /// What was dropped at `inboundIPPacketV6`.
  case inboundIPPacketV6Discard = 3
  /// Leaving packets, before fragmentation: POSTROUTING.
  case outboundIPPacketV4 = 4
  /// What was dropped at `outboundIPPacketV4`.
  case outboundIPPacketV4Discard = 5
  /// Leaving packets, before fragmentation: POSTROUTING.
  case outboundIPPacketV6 = 6
  /// What was dropped at `outboundIPPacketV6`.
  case outboundIPPacketV6Discard = 7
  /// Packets routed through this host: FORWARD.
  case ipForwardV4 = 8
  /// What was dropped at `ipForwardV4`.
  case ipForwardV4Discard = 9
  /// Packets routed through this host: FORWARD.
  case ipForwardV6 = 10
  /// What was dropped at `ipForwardV6`.
  case ipForwardV6Discard = 11
  /// Whole packets for this host: INPUT.
  case inboundTransportV4 = 12
  /// What was dropped at `inboundTransportV4`.
  case inboundTransportV4Discard = 13
  /// Whole packets for this host: INPUT.
  case inboundTransportV6 = 14
  /// What was dropped at `inboundTransportV6`.
  case inboundTransportV6Discard = 15
  /// Packets of this host that are no ICMP errors: OUTPUT.
  case outboundTransportV4 = 16
  /// What was dropped at `outboundTransportV4`.
  case outboundTransportV4Discard = 17
  /// Packets of this host that are no ICMP errors: OUTPUT.
  case outboundTransportV6 = 18
  /// What was dropped at `outboundTransportV6`.
  case outboundTransportV6Discard = 19
  /// Stream data. No packet is indicated here, so nothing can be tagged.
  case streamV4 = 20
  /// Stream data. No packet is indicated here, so nothing can be tagged.
  case streamV6 = 22
  /// Packets from or for this host that are neither of TCP nor ICMP errors: INPUT and OUTPUT.
  case datagramDataV4 = 24
  /// What was dropped at `datagramDataV4`.
  case datagramDataV4Discard = 25
  /// Packets from or for this host that are neither of TCP nor ICMP errors: INPUT and OUTPUT.
  case datagramDataV6 = 26
  /// What was dropped at `datagramDataV6`.
  case datagramDataV6Discard = 27
  /// ICMP errors for this host: INPUT.
  case inboundICMPErrorV4 = 28
  /// What was dropped at `inboundICMPErrorV4`.
  case inboundICMPErrorV4Discard = 29
  /// ICMP errors for this host: INPUT.
  case inboundICMPErrorV6 = 30
  /// What was dropped at `inboundICMPErrorV6`.
  case inboundICMPErrorV6Discard = 31
  /// ICMP errors of this host: OUTPUT.
  case outboundICMPErrorV4 = 32
  /// What was dropped at `outboundICMPErrorV4`.
  case outboundICMPErrorV4Discard = 33
  /// ICMP errors of this host: OUTPUT.
  case outboundICMPErrorV6 = 34
  /// What was dropped at `outboundICMPErrorV6`.
  case outboundICMPErrorV6Discard = 35
  /// The first packet of a flow that another host opens: INPUT.
  case aleAuthRecvAcceptV4 = 44
  /// What was dropped at `aleAuthRecvAcceptV4`.
  case aleAuthRecvAcceptV4Discard = 45
  /// The first packet of a flow that another host opens: INPUT.
  case aleAuthRecvAcceptV6 = 46
  /// What was dropped at `aleAuthRecvAcceptV6`.
  case aleAuthRecvAcceptV6Discard = 47
  /// The first packet of a flow that this host opens: OUTPUT.
  case aleAuthConnectV4 = 48
  /// What was dropped at `aleAuthConnectV4`.
  case aleAuthConnectV4Discard = 49
  /// The first packet of a flow that this host opens: OUTPUT.
  case aleAuthConnectV6 = 50
  /// What was dropped at `aleAuthConnectV6`.
  case aleAuthConnectV6Discard = 51
  /// A flow of this host that is established, as conntrack tells. No packet is indicated here.
  case aleFlowEstablishedV4 = 52
  /// A flow of this host that is established, as conntrack tells. No packet is indicated here.
  case aleFlowEstablishedV6 = 54
  /// Arriving frames of Ethernet interfaces, behind their MAC headers.
  case inboundMACFrameEthernet = 56
  /// Leaving frames of Ethernet interfaces, after fragmentation.
  case outboundMACFrameEthernet = 57
  /// Arriving frames as the interface's own medium has them.
  case inboundMACFrameNative = 58
  /// Leaving frames as the interface's own medium has them.
  case outboundMACFrameNative = 59
  /// A flow of IPv4 that has ended. No packet is indicated here.
  case aleEndpointClosureV4 = 64
  /// A flow of IPv6 that has ended. No packet is indicated here.
  case aleEndpointClosureV6 = 65
  /// Frames that enter a bridge by one of its ports.
  case ingressVSwitchEthernet = 72
  /// Frames that leave a bridge by one of its ports.
  case egressVSwitchEthernet = 73

  /// The name in policy files and events ("outbound-transport-v4").
  public var name: String {
    switch self {
    case .inboundIPPacketV4: "inbound-ippacket-v4"
    case .inboundIPPacketV4Discard: "inbound-ippacket-v4-discard"
    case .inboundIPPacketV6: "inbound-ippacket-v6"
    case .inboundIPPacketV6Discard: "inbound-ippacket-v6-discard"
    case .outboundIPPacketV4: "outbound-ippacket-v4"
    case .outboundIPPacketV4Discard: "outbound-ippacket-v4-discard"
    case .outboundIPPacketV6: "outbound-ippacket-v6"
    case .outboundIPPacketV6Discard: "outbound-ippacket-v6-discard"
    case .ipForwardV4: "ipforward-v4"
    case .ipForwardV4Discard: "ipforward-v4-discard"
    case .ipForwardV6: "ipforward-v6"
    case .ipForwardV6Discard: "ipforward-v6-discard"
    case .inboundTransportV4: "inbound-transport-v4"
    case .inboundTransportV4Discard: "inbound-transport-v4-discard"
    case .inboundTransportV6: "inbound-transport-v6"
    case .inboundTransportV6Discard: "inbound-transport-v6-discard"
    case .outboundTransportV4: "outbound-transport-v4"
    case .outboundTransportV4Discard: "outbound-transport-v4-discard"
    case .outboundTransportV6: "outbound-transport-v6"
    case .outboundTransportV6Discard: "outbound-transport-v6-discard"
    case .streamV4: "stream-v4"
    case .streamV6: "stream-v6"
    case .datagramDataV4: "datagram-data-v4"
    case .datagramDataV4Discard: "datagram-data-v4-discard"
    case .datagramDataV6: "datagram-data-v6"
    case .datagramDataV6Discard: "datagram-data-v6-discard"
    case .inboundICMPErrorV4: "inbound-icmp-error-v4"
    case .inboundICMPErrorV4Discard: "inbound-icmp-error-v4-discard"
    case .inboundICMPErrorV6: "inbound-icmp-error-v6"
    case .inboundICMPErrorV6Discard: "inbound-icmp-error-v6-discard"
    case .outboundICMPErrorV4: "outbound-icmp-error-v4"
    case .outboundICMPErrorV4Discard: "outbound-icmp-error-v4-discard"
    case .outboundICMPErrorV6: "outbound-icmp-error-v6"
    case .outboundICMPErrorV6Discard: "outbound-icmp-error-v6-discard"
    case .aleAuthRecvAcceptV4: "ale-auth-recv-accept-v4"
    case .aleAuthRecvAcceptV4Discard: "ale-auth-recv-accept-v4-discard"
    case .aleAuthRecvAcceptV6: "ale-auth-recv-accept-v6"
    case .aleAuthRecvAcceptV6Discard: "ale-auth-recv-accept-v6-discard"
    case .aleAuthConnectV4: "ale-auth-connect-v4"
    case .aleAuthConnectV4Discard: "ale-auth-connect-v4-discard"
    case .aleAuthConnectV6: "ale-auth-connect-v6"
    case .aleAuthConnectV6Discard: "ale-auth-connect-v6-discard"
    case .aleFlowEstablishedV4: "ale-flow-established-v4"
    case .aleFlowEstablishedV6: "ale-flow-established-v6"
    case .inboundMACFrameEthernet: "inbound-mac-frame-ethernet"
    case .outboundMACFrameEthernet: "outbound-mac-frame-ethernet"
    case .inboundMACFrameNative: "inbound-mac-frame-native"
    case .outboundMACFrameNative: "outbound-mac-frame-native"
    case .aleEndpointClosureV4: "ale-endpoint-closure-v4"
    case .aleEndpointClosureV6: "ale-endpoint-closure-v6"
    case .ingressVSwitchEthernet: "ingress-vswitch-ethernet"
    case .egressVSwitchEthernet: "egress-vswitch-ethernet"
    }
  }

  /// The layer of that name.
  public init?(name: String) {
    guard let layer = Layer.allCases.first(where: { $0.name == name }) else { return nil }
    self = layer
  }
}
