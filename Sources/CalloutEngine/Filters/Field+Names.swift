// SPDX-License-Identifier: Apache-2.0

extension Field {
  /// The name in policy files ("ip-remote-port").
  public var name: String {
    switch self {
    case .ipProtocol: "ip-protocol"
    case .ipLocalAddress: "ip-local-address"
    case .ipRemoteAddress: "ip-remote-address"
    case .ipSourceAddress: "ip-source-address"
    case .ipDestinationAddress: "ip-destination-address"
    case .ipLocalPort: "ip-local-port"
    case .ipRemotePort: "ip-remote-port"
    case .ipSourcePort: "ip-source-port"
    case .ipDestinationPort: "ip-destination-port"
    case .icmpType: "icmp-type"
    case .icmpCode: "icmp-code"
    case .interfaceIndex: "interface-index"
    case .sourceInterfaceIndex: "source-interface-index"
    case .destinationInterfaceIndex: "destination-interface-index"
    case .flags: "flags"
    case .userID: "user-id"
    case .groupID: "group-id"
    case .interfaceMACAddress: "interface-mac-address"
    case .macLocalAddress: "mac-local-address"
    case .macRemoteAddress: "mac-remote-address"
    case .macLocalAddressType: "mac-local-address-type"
    case .macRemoteAddressType: "mac-remote-address-type"
    case .macSourceAddress: "mac-source-address"
    case .macSourceAddressType: "mac-source-address-type"
    case .macDestinationAddress: "mac-destination-address"
    case .macDestinationAddressType: "mac-destination-address-type"
    case .etherType: "ether-type"
    case .vlanID: "vlan-id"
    case .interface: "interface"
    case .ndisPort: "ndis-port"
    case .l2Flags: "l2-flags"
    case .compartmentID: "compartment-id"
    case .ndisMediaType: "ndis-media-type"
    case .ndisPhysicalMediaType: "ndis-physical-media-type"
    case .interfaceType: "interface-type"
    case .vSwitchTenantNetworkID: "vswitch-tenant-network-id"
    case .vSwitchID: "vswitch-id"
    case .vSwitchNetworkType: "vswitch-network-type"
    case .vSwitchSourceInterfaceID: "vswitch-source-interface-id"
    case .vSwitchSourceInterfaceType: "vswitch-source-interface-type"
    case .vSwitchSourceVMID: "vswitch-source-vm-id"
    case .vSwitchDestinationInterfaceID: "vswitch-destination-interface-id"
    case .vSwitchDestinationInterfaceType: "vswitch-destination-interface-type"
    case .vSwitchDestinationVMID: "vswitch-destination-vm-id"
    case .ipLocalAddressType: "ip-local-address-type"
    case .ipDestinationAddressType: "ip-destination-address-type"
    case .ipLocalInterface: "ip-local-interface"
    case .ipForwardInterface: "ip-forward-interface"
    case .ipPhysicalArrivalInterface: "ip-physical-arrival-interface"
    case .ipPhysicalNexthopInterface: "ip-physical-nexthop-interface"
    case .ipArrivalInterface: "ip-arrival-interface"
    case .ipNexthopInterface: "ip-nexthop-interface"
    case .arrivalInterfaceIndex: "arrival-interface-index"
    case .nexthopInterfaceIndex: "nexthop-interface-index"
    case .arrivalInterfaceType: "arrival-interface-type"
    case .nexthopInterfaceType: "nexthop-interface-type"
    case .tunnelType: "tunnel-type"
    case .arrivalTunnelType: "arrival-tunnel-type"
    case .nexthopTunnelType: "nexthop-tunnel-type"
    case .direction: "direction"
    case .embeddedProtocol: "embedded-protocol"
    case .embeddedRemoteAddress: "embedded-remote-address"
    case .embeddedLocalAddressType: "embedded-local-address-type"
    case .embeddedLocalPort: "embedded-local-port"
    case .embeddedRemotePort: "embedded-remote-port"
    case .subInterfaceIndex: "sub-interface-index"
    case .sourceSubInterfaceIndex: "source-sub-interface-index"
    case .destinationSubInterfaceIndex: "destination-sub-interface-index"
    case .nexthopSubInterfaceIndex: "nexthop-sub-interface-index"
    case .profileID: "profile-id"
    case .arrivalInterfaceProfileID: "arrival-interface-profile-id"
    case .nexthopInterfaceProfileID: "nexthop-interface-profile-id"
    case .originalProfileID: "original-profile-id"
    case .currentProfileID: "current-profile-id"
    case .ipsecSecurityRealmID: "ipsec-security-realm-id"
    case .interfaceQuarantineEpoch: "interface-quarantine-epoch"
    case .aleAppID: "ale-app-id"
    case .aleUserID: "ale-user-id"
    case .aleRemoteUserID: "ale-remote-user-id"
    case .aleRemoteMachineID: "ale-remote-machine-id"
    case .aleOriginalAppID: "ale-original-app-id"
    case .alePackageID: "ale-package-id"
    case .aleSecurityAttributeFQBNValue: "ale-security-attribute-fqbn-value"
    case .aleEffectiveName: "ale-effective-name"
    case .peerName: "peer-name"
    case .sioFirewallSystemPort: "sio-firewall-system-port"
    case .napContext: "nap-context"
    case .reauthorizeReason: "reauthorize-reason"
    case .originalICMPType: "original-icmp-type"
    case .bitmapIPLocalAddress: "bitmap-ip-local-address"
    case .bitmapIPLocalPort: "bitmap-ip-local-port"
    case .bitmapIPRemoteAddress: "bitmap-ip-remote-address"
    case .bitmapIPRemotePort: "bitmap-ip-remote-port"
    }
  }

  /// The field of that name.
  public init?(name: String) {
    guard let field = Field.allCases.first(where: { $0.name == name }) else { return nil }
    self = field
  }

  /// The names of the bits of a field that is of flags.
  public var flagNames: [(name: String, bit: UInt32)] {
    switch self {
    case .flags: ConditionFlags.names.map { ($0.name, $0.flag.rawValue) }
    case .l2Flags: L2Flags.names.map { ($0.name, $0.flag.rawValue) }
    default: []
    }
  }
}

/// The bits of the field `flags`, under WFP's values.
///
/// Mirrors `FWP_CONDITION_FLAG_IS_*`.
public struct ConditionFlags: OptionSet, Sendable, BitwiseCopyable {
  /// The bits.
  public let rawValue: UInt32
  /// From bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// It came by or leaves through the loopback device.
  public static let loopback = ConditionFlags(rawValue: 0x1)
  /// Its flow was authorized under an earlier policy and is authorized again.
  ///
  /// Only at the layers where flows are authorized.
  public static let reauthorize = ConditionFlags(rawValue: 0x4)
  /// It is a fragment.
  public static let fragment = ConditionFlags(rawValue: 0x20)

  /// The names in policy files.
  public static let names: [(name: String, flag: ConditionFlags)] = [
    ("loopback", .loopback), ("reauthorize", .reauthorize), ("fragment", .fragment),
  ]
}
