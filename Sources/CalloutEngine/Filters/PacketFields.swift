// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

extension Layer {
  /// The fields of the layer in WFP's order, so that a field's index is WFP's.
  ///
  /// Mirrors `FWPS_FIELDS_*`. Packets have further fields here, such as both ports at the IP packet
  /// layers; these have no index.
  public var fields: [Field] {
    switch base ?? self {
    case .inboundIPPacketV4, .inboundIPPacketV6:
      [.ipLocalAddress, .ipRemoteAddress, .ipLocalAddressType, .ipLocalInterface] + Self.ipTail
    case .outboundIPPacketV4, .outboundIPPacketV6:
      [.ipLocalAddress, .ipLocalAddressType, .ipRemoteAddress, .ipLocalInterface] + Self.ipTail
    case .ipForwardV4, .ipForwardV6: Self.forwardFields
    case .inboundTransportV4, .inboundTransportV6:
      [
        .ipProtocol, .ipLocalAddress, .ipRemoteAddress, .ipLocalAddressType, .ipLocalPort,
        .ipRemotePort, .ipLocalInterface, .interfaceIndex, .subInterfaceIndex,
      ] + Self.transportTail
    case .outboundTransportV4, .outboundTransportV6:
      [
        .ipProtocol, .ipLocalAddress, .ipLocalAddressType, .ipRemoteAddress, .ipLocalPort,
        .ipRemotePort, .ipLocalInterface, .interfaceIndex, .subInterfaceIndex,
        .ipDestinationAddressType,
      ] + Self.transportTail
    case .streamV4, .streamV6:
      [
        .ipLocalAddress, .ipLocalAddressType, .ipRemoteAddress, .ipLocalPort, .ipRemotePort,
        .direction, .flags, .compartmentID,
      ]
    case .datagramDataV4, .datagramDataV6:
      [
        .ipProtocol, .ipLocalAddress, .ipRemoteAddress, .ipLocalAddressType, .ipLocalPort,
        .ipRemotePort, .ipLocalInterface, .interfaceIndex, .subInterfaceIndex, .direction, .flags,
        .interfaceType, .tunnelType, .compartmentID,
      ]
    case .inboundICMPErrorV4, .inboundICMPErrorV6: Self.inboundICMPErrorFields
    case .outboundICMPErrorV4, .outboundICMPErrorV6:
      [
        .ipLocalAddress, .ipRemoteAddress, .ipLocalAddressType, .ipLocalInterface, .icmpType,
        .icmpCode, .interfaceIndex, .subInterfaceIndex, .interfaceType, .tunnelType, .flags,
        .nexthopInterfaceProfileID, .interfaceQuarantineEpoch, .compartmentID,
      ]
    case .aleAuthRecvAcceptV4, .aleAuthRecvAcceptV6: Self.acceptFields
    case .aleAuthConnectV4, .aleAuthConnectV6: Self.connectFields
    case .aleFlowEstablishedV4, .aleFlowEstablishedV6:
      Self.flowHead + [
        .ipDestinationAddressType, .ipLocalInterface, .direction, .interfaceType, .tunnelType,
        .flags, .aleOriginalAppID, .alePackageID, .aleSecurityAttributeFQBNValue, .compartmentID,
      ] + Self.bitmaps
    case .aleEndpointClosureV4, .aleEndpointClosureV6:
      [
        .aleAppID, .aleUserID, .ipLocalAddress, .ipLocalAddressType, .ipLocalPort, .ipProtocol,
        .ipRemoteAddress, .ipRemotePort, .ipLocalInterface, .flags, .alePackageID,
        .aleSecurityAttributeFQBNValue, .compartmentID,
      ]
    default: frameFields
    }
  }

  private static let ipTail: [Field] = [
    .interfaceIndex, .subInterfaceIndex, .flags, .interfaceType, .tunnelType, .compartmentID,
  ]

  private static let transportTail: [Field] = [
    .flags, .interfaceType, .tunnelType, .profileID, .ipsecSecurityRealmID, .compartmentID,
  ]

  private static let forwardFields: [Field] = [
    .ipSourceAddress, .ipDestinationAddress, .ipDestinationAddressType, .ipLocalInterface,
    .ipForwardInterface, .sourceInterfaceIndex, .sourceSubInterfaceIndex,
    .destinationInterfaceIndex, .destinationSubInterfaceIndex, .flags,
    .ipPhysicalArrivalInterface, .arrivalInterfaceProfileID, .ipPhysicalNexthopInterface,
    .nexthopInterfaceProfileID, .compartmentID,
  ]

  private static let inboundICMPErrorFields: [Field] = [
    .embeddedProtocol, .ipLocalAddress, .ipRemoteAddress, .embeddedRemoteAddress,
    .embeddedLocalAddressType, .embeddedLocalPort, .embeddedRemotePort, .ipLocalInterface,
    .icmpType, .icmpCode, .interfaceIndex, .subInterfaceIndex, .interfaceType, .tunnelType,
    .ipArrivalInterface, .arrivalInterfaceIndex, .arrivalInterfaceType, .arrivalTunnelType, .flags,
    .arrivalInterfaceProfileID, .interfaceQuarantineEpoch, .compartmentID,
  ]

  private static let flowHead: [Field] = [
    .aleAppID, .aleUserID, .ipLocalAddress, .ipLocalAddressType, .ipLocalPort, .ipProtocol,
    .ipRemoteAddress, .ipRemotePort, .aleRemoteUserID, .aleRemoteMachineID,
  ]

  private static let bitmaps: [Field] = [
    .bitmapIPLocalAddress, .bitmapIPLocalPort, .bitmapIPRemoteAddress, .bitmapIPRemotePort,
  ]

  private static let nexthop: [Field] = [
    .nexthopSubInterfaceIndex, .ipNexthopInterface, .nexthopInterfaceType, .nexthopTunnelType,
    .nexthopInterfaceIndex, .originalProfileID, .currentProfileID, .reauthorizeReason,
  ]

  private static let arrival: [Field] = [
    .ipArrivalInterface, .arrivalInterfaceType, .arrivalTunnelType, .arrivalInterfaceIndex,
  ]

  private static let acceptFields: [Field] =
    flowHead + [
      .ipLocalInterface, .flags, .sioFirewallSystemPort, .napContext, .interfaceType, .tunnelType,
      .interfaceIndex, .subInterfaceIndex,
    ] + arrival + nexthop + [
      .originalICMPType, .interfaceQuarantineEpoch, .alePackageID,
      .aleSecurityAttributeFQBNValue, .compartmentID,
    ] + bitmaps

  private static let connectFields: [Field] =
    flowHead + [
      .ipDestinationAddressType, .ipLocalInterface, .flags, .interfaceType, .tunnelType,
      .interfaceIndex, .subInterfaceIndex,
    ] + arrival + nexthop + [
      .peerName, .originalICMPType, .interfaceQuarantineEpoch, .aleOriginalAppID, .alePackageID,
      .aleSecurityAttributeFQBNValue, .aleEffectiveName, .compartmentID,
    ] + bitmaps
}
