// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
internal import PacketViews

/// Something a condition can test.
///
/// Mirrors `FWPM_CONDITION_*`. Local and remote swap with the layer's direction; at the forward
/// layers and on bridges there are only source and destination.
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
    case .flags, .l2Flags: .flags
    }
  }

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
    }
  }

  /// The field of that name.
  public init?(name: String) {
    guard let field = Field.allCases.first(where: { $0.name == name }) else { return nil }
    self = field
  }

  /// Whether packets at `layer` can have the field at all.
  public func isAvailable(at layer: Layer) -> Bool {
    guard layer.indicatesPackets else { return false }
    guard !layer.indicatesFrames else { return index(at: layer) != nil }
    guard !layer.indicatesFlows else { return isOfFlows }
    return switch self {
    case .ipLocalAddress, .ipRemoteAddress, .ipLocalPort, .ipRemotePort: layer.hook != .forward
    case .userID, .groupID:
      layer.hook == .output || layer.hook == .postrouting
        || layer.isFlowAuthorization && layer.direction == .outbound
    default: rawValue <= Field.groupID.rawValue
    }
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
  /// It is a fragment.
  public static let fragment = ConditionFlags(rawValue: 0x20)

  /// The names in policy files.
  public static let names: [(name: String, flag: ConditionFlags)] = [
    ("loopback", .loopback), ("fragment", .fragment),
  ]
}
