// SPDX-License-Identifier: Apache-2.0

/// Something a condition can test.
///
/// Mirrors `FWPM_CONDITION_*`. Local and remote swap with the layer's direction; at the forward
/// layers and on bridges there are only source and destination. `availability(at:)` says which fields
/// packets of a layer have here, and why they have no others.
public enum Field: UInt8, CaseIterable, Sendable, BitwiseCopyable {
  /// The transport protocol, after IPv6 extension headers.
  case ipProtocol
  /// This host's address.
  case ipLocalAddress
  /// The peer's address.
  case ipRemoteAddress
  /// The sender's address.
  case ipSourceAddress
  /// The receiver's address.
  case ipDestinationAddress
  /// This host's port.
  case ipLocalPort
  /// The peer's port.
  case ipRemotePort
  /// The sender's port.
  case ipSourcePort
  /// The receiver's port.
  case ipDestinationPort
  /// ICMP or ICMPv6 type.
  case icmpType
  /// ICMP or ICMPv6 code.
  case icmpCode
  /// The device of arrival at inbound layers, of departure at the others.
  case interfaceIndex
  /// The device of arrival.
  case sourceInterfaceIndex
  /// The device of departure.
  case destinationInterfaceIndex
  /// `ConditionFlags`.
  case flags
  /// Owner of the sending socket.
  case userID
  /// Group of the sending socket.
  case groupID
  /// The Ethernet address of the frame's interface.
  case interfaceMACAddress
  /// This host's Ethernet address: the receiver of what arrives, the sender of what leaves.
  case macLocalAddress
  /// The peer's Ethernet address.
  case macRemoteAddress
  /// Whom `macLocalAddress` names: 0 one station, 1 a group, 2 all.
  case macLocalAddressType
  /// Whom `macRemoteAddress` names.
  case macRemoteAddressType
  /// The sender's Ethernet address.
  case macSourceAddress
  /// Whom `macSourceAddress` names.
  case macSourceAddressType
  /// The receiver's Ethernet address.
  case macDestinationAddress
  /// Whom `macDestinationAddress` names.
  case macDestinationAddressType
  /// What the frame carries, behind all VLAN tags.
  case etherType
  /// The whole control information of the outermost VLAN tag, 0 without one.
  case vlanID
  /// The interface as a `NET_LUID`: its type and its index.
  case interface
  /// The port of the interface; always 0, the default port.
  case ndisPort
  /// `L2Flags`.
  case l2Flags
  /// The routing compartment.
  case compartmentID
  /// The interface's medium as `NDIS_MEDIUM` numbers it.
  case ndisMediaType
  /// The interface's physical medium as `NDIS_PHYSICAL_MEDIUM` numbers it.
  case ndisPhysicalMediaType
  /// The interface's type as IANA numbers it.
  case interfaceType
  /// The tenant's network on a bridge; no frame has it, Linux bridges have no tenants.
  case vSwitchTenantNetworkID
  /// The bridge, by its device index.
  case vSwitchID
  /// The kind of the bridge's network: 1 private, 2 internal, 3 external.
  case vSwitchNetworkType
  /// The port by which the frame came, by its device index.
  case vSwitchSourceInterfaceID
  /// What stands behind that port: a `SwitchInterfaceType`.
  case vSwitchSourceInterfaceType
  /// The machine behind that port; no frame has it, the kernel knows none.
  case vSwitchSourceVMID
  /// The port by which the frame leaves, by its device index.
  case vSwitchDestinationInterfaceID
  /// What stands behind that port: a `SwitchInterfaceType`.
  case vSwitchDestinationInterfaceType
  /// The machine behind that port; no frame has it, the kernel knows none.
  case vSwitchDestinationVMID
  /// Whom this host's address names: an `IPAddressType`.
  case ipLocalAddressType
  /// Whom the receiver's address names: an `IPAddressType`.
  case ipDestinationAddressType
  /// The interface as a `NET_LUID`: of arrival at inbound and forward layers, else of departure.
  case ipLocalInterface
  /// The interface of departure as a `NET_LUID`.
  case ipForwardInterface
  /// The interface of arrival as a `NET_LUID`; of a bridge, its port.
  case ipPhysicalArrivalInterface
  /// The interface of departure as a `NET_LUID`; of a bridge, its port.
  case ipPhysicalNexthopInterface
  /// The interface of arrival as a `NET_LUID`.
  case ipArrivalInterface
  /// The interface of departure as a `NET_LUID`.
  case ipNexthopInterface
  /// The device of arrival.
  case arrivalInterfaceIndex
  /// The device of departure.
  case nexthopInterfaceIndex
  /// The type of the device of arrival as IANA numbers it.
  case arrivalInterfaceType
  /// The type of the device of departure as IANA numbers it.
  case nexthopInterfaceType
  /// What tunnel the interface is: 0 none, 1 another, 2 IP in IP.
  case tunnelType
  /// What tunnel the device of arrival is.
  case arrivalTunnelType
  /// What tunnel the device of departure is.
  case nexthopTunnelType
  /// Which way the packet goes: 0 outbound, 1 inbound.
  case direction
  /// The transport protocol of the packet that an ICMP error is about.
  case embeddedProtocol
  /// Whom the packet was for that an ICMP error is about.
  case embeddedRemoteAddress
  /// Whom the sender of that packet names: an `IPAddressType`.
  case embeddedLocalAddressType
  /// The port that sent that packet.
  case embeddedLocalPort
  /// The port that it was for.
  case embeddedRemotePort
  /// The interface below; no packet has it.
  case subInterfaceIndex
  /// The interface below that of arrival; no packet has it.
  case sourceSubInterfaceIndex
  /// The interface below that of departure; no packet has it.
  case destinationSubInterfaceIndex
  /// The interface below that of departure; no packet has it.
  case nexthopSubInterfaceIndex
  /// The network profile; no packet has it.
  case profileID
  /// The network profile of arrival; no packet has it.
  case arrivalInterfaceProfileID
  /// The network profile of departure; no packet has it.
  case nexthopInterfaceProfileID
  /// The network profile at first; no packet has it.
  case originalProfileID
  /// The network profile now; no packet has it.
  case currentProfileID
  /// The security realm; no packet has it.
  case ipsecSecurityRealmID
  /// How often the interface was in quarantine; no packet has it.
  case interfaceQuarantineEpoch
  /// The path of the program.
  case aleAppID
  /// The user's token; Linux has numbers, `userID`.
  case aleUserID
  /// The peer's user; no packet has it.
  case aleRemoteUserID
  /// The peer's machine account; no packet has it.
  case aleRemoteMachineID
  /// The program before a redirection; no packet has it.
  case aleOriginalAppID
  /// The application container; no packet has it.
  case alePackageID
  /// The signed name of the program; no packet has it.
  case aleSecurityAttributeFQBNValue
  /// The name that was asked for; no packet has it.
  case aleEffectiveName
  /// The name of the peer; no packet has it.
  case peerName
  /// Whether the port is reserved for the system; no packet has it.
  case sioFirewallSystemPort
  /// Whether quarantine is checked; no packet has it.
  case napContext
  /// Why a flow is authorized again.
  case reauthorizeReason
  /// The ICMP type that opened the flow.
  case originalICMPType
  /// A set of addresses; match them with several conditions.
  case bitmapIPLocalAddress
  /// A set of ports; match them with several conditions.
  case bitmapIPLocalPort
  /// A set of addresses; match them with several conditions.
  case bitmapIPRemoteAddress
  /// A set of ports; match them with several conditions.
  case bitmapIPRemotePort

  /// What values a field takes.
  public enum ValueType: Sendable, Hashable {
    /// An unsigned integer of so many bits.
    case integer(bits: Int)
    /// An address of the layer's family.
    case address
    /// An Ethernet address.
    case macAddress
    /// Named bits.
    case flags
    /// A string of bytes: a path.
    case blob
  }

  /// What values the field takes.
  public var valueType: ValueType {
    switch self {
    case .ipProtocol, .icmpType, .icmpCode: .integer(bits: 8)
    case .ipLocalPort, .ipRemotePort, .ipSourcePort, .ipDestinationPort: .integer(bits: 16)
    case .ipLocalAddress, .ipRemoteAddress, .ipSourceAddress, .ipDestinationAddress: .address
    case .interfaceIndex, .sourceInterfaceIndex, .destinationInterfaceIndex, .userID, .groupID:
      .integer(bits: 32)
    case .interfaceMACAddress, .macLocalAddress, .macRemoteAddress, .macSourceAddress,
      .macDestinationAddress:
      .macAddress
    case .macLocalAddressType, .macRemoteAddressType, .macSourceAddressType,
      .macDestinationAddressType, .vSwitchNetworkType:
      .integer(bits: 8)
    case .etherType, .vlanID: .integer(bits: 16)
    case .interface: .integer(bits: 64)
    case .ndisPort, .compartmentID, .ndisMediaType, .ndisPhysicalMediaType, .interfaceType,
      .vSwitchTenantNetworkID, .vSwitchID, .vSwitchSourceInterfaceID, .vSwitchSourceInterfaceType,
      .vSwitchSourceVMID, .vSwitchDestinationInterfaceID, .vSwitchDestinationInterfaceType,
      .vSwitchDestinationVMID:
      .integer(bits: 32)
    case .ipLocalAddressType, .ipDestinationAddressType, .embeddedProtocol,
      .embeddedLocalAddressType:
      .integer(bits: 8)
    case .ipLocalInterface, .ipForwardInterface, .ipPhysicalArrivalInterface,
      .ipPhysicalNexthopInterface, .ipArrivalInterface, .ipNexthopInterface, .ipsecSecurityRealmID,
      .interfaceQuarantineEpoch, .aleUserID, .aleRemoteUserID, .aleRemoteMachineID,
      .aleOriginalAppID, .alePackageID, .aleSecurityAttributeFQBNValue, .aleEffectiveName,
      .peerName, .bitmapIPLocalAddress, .bitmapIPLocalPort, .bitmapIPRemoteAddress,
      .bitmapIPRemotePort:
      .integer(bits: 64)
    case .arrivalInterfaceIndex, .nexthopInterfaceIndex, .arrivalInterfaceType,
      .nexthopInterfaceType, .tunnelType, .arrivalTunnelType, .nexthopTunnelType, .direction,
      .subInterfaceIndex, .sourceSubInterfaceIndex, .destinationSubInterfaceIndex,
      .nexthopSubInterfaceIndex, .profileID, .arrivalInterfaceProfileID, .nexthopInterfaceProfileID,
      .originalProfileID, .currentProfileID, .sioFirewallSystemPort, .napContext,
      .reauthorizeReason:
      .integer(bits: 32)
    case .embeddedRemoteAddress:
      .address
    case .embeddedLocalPort, .embeddedRemotePort, .originalICMPType:
      .integer(bits: 16)
    case .flags, .l2Flags: .flags
    case .aleAppID: .blob
    }
  }
}
