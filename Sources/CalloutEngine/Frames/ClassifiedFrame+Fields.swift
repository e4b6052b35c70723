// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
internal import PacketViews

extension ClassifiedFrame {
  /// The field's value in host order, nil if this frame has none.
  package func value(of field: Field) -> UInt128? {
    switch field {
    case .interfaceMACAddress:
      return metadata.interfaceAddress.rawValue == 0
        ? nil : UInt128(metadata.interfaceAddress.rawValue)
    case .macSourceAddress: return address(isDestination: false)
    case .macDestinationAddress: return address(isDestination: true)
    case .macLocalAddress: return address(isDestination: isInbound)
    case .macRemoteAddress: return address(isDestination: !isInbound)
    case .macSourceAddressType: return addressClass(isDestination: false)
    case .macDestinationAddressType: return addressClass(isDestination: true)
    case .macLocalAddressType: return addressClass(isDestination: isInbound)
    case .macRemoteAddressType: return addressClass(isDestination: !isInbound)
    case .etherType: return hasType ? UInt128(layout.etherType.rawValue) : nil
    case .vlanID: return layout.hasAddresses ? UInt128(layout.tagControl) : nil
    case .interface:
      return known(metadata.interfaceIndex).map { _ in UInt128(metadata.interfaceLUID) }
    case .interfaceIndex: return known(metadata.interfaceIndex)
    case .ndisPort: return 0
    case .l2Flags: return UInt128(l2Flags.rawValue)
    case .compartmentID: return UInt128(metadata.compartment)
    case .ndisMediaType: return UInt128(metadata.hardwareType.mediaType)
    case .ndisPhysicalMediaType: return UInt128(metadata.physicalMediaType)
    case .interfaceType: return UInt128(metadata.hardwareType.interfaceType)
    case .vSwitchTenantNetworkID: return known(metadata.tenantNetwork)
    case .vSwitchID: return known(metadata.bridgeIndex)
    case .vSwitchSourceInterfaceID: return known(metadata.sourcePort)
    case .vSwitchDestinationInterfaceID: return known(metadata.destinationPort)
    case .vSwitchNetworkType: return metadata.networkType.map { UInt128($0.rawValue) }
    case .vSwitchSourceInterfaceType: return metadata.sourcePortType.map { UInt128($0.rawValue) }
    case .vSwitchDestinationInterfaceType:
      return metadata.destinationPortType.map { UInt128($0.rawValue) }
    default: return nil
    }
  }

  /// The frame's layer-2 condition flags.
  public var l2Flags: L2Flags {
    var flags: L2Flags = []
    if metadata.isWireless || metadata.hardwareType == .ieee80211 {
      flags.insert(.wiFi)
    } else if metadata.hardwareType == .ethernet {
      flags.insert(.nativeEthernet)
    } else if metadata.hardwareType == .rawIP {
      flags.insert(.mobileBroadband)
    }
    if metadata.isVMToVM, layer.medium == .virtualSwitch { flags.insert(.vmToVM) }
    if !layout.isWellFormed { flags.insert(.malformed) }
    if metadata.hasConnector { flags.insert(.connectorPresent) }
    return flags
  }

  private var isInbound: Bool { layer.direction == .inbound }

  private var hasType: Bool { layout.etherType.rawValue != 0 || layout.hasAddresses }

  private func address(isDestination: Bool) -> UInt128? {
    guard layout.hasAddresses else { return nil }
    return UInt128((isDestination ? layout.destination : layout.source).rawValue)
  }

  private func addressClass(isDestination: Bool) -> UInt128? {
    guard layout.hasAddresses else { return nil }
    return UInt128((isDestination ? layout.destination : layout.source).addressClass.rawValue)
  }

  private func known(_ number: UInt32) -> UInt128? { number == 0 ? nil : UInt128(number) }
}
