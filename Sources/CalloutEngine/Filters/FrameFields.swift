// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// The type of a field's values under WFP's number.
///
/// Mirrors `FWP_DATA_TYPE`.
public enum FieldDataType: UInt32, Sendable, BitwiseCopyable {
  /// `FWP_UINT8`.
  case uint8 = 1
  /// `FWP_UINT16`.
  case uint16 = 2
  /// `FWP_UINT32`.
  case uint32 = 3
  /// `FWP_UINT64`.
  case uint64 = 4
  /// `FWP_BYTE_ARRAY16_TYPE`: an IPv6 address.
  case byteArray16 = 11
  /// `FWP_BYTE_BLOB_TYPE`: a path; of virtual switches such values are device indices of 32 bits.
  case byteBlob = 12
  /// `FWP_SID`; no value here has it.
  case sid = 13
  /// `FWP_SECURITY_DESCRIPTOR_TYPE`; no value here has it.
  case securityDescriptor = 14
  /// `FWP_UNICODE_STRING_TYPE`; no value here has it.
  case unicodeString = 17
  /// `FWP_BYTE_ARRAY6_TYPE`: an Ethernet address in the order of the wire.
  case byteArray6 = 18
  /// `FWP_BITMAP_INDEX_TYPE`; no value here has it.
  case bitmapIndex = 19
}

extension Layer {
  /// The fields of the layer's frames in WFP's order; empty at layers of IP packets.
  var frameFields: [Field] {
    switch medium {
    case .ethernet: Self.ethernetFields
    case .native: Self.nativeFields
    case .virtualSwitch:
      self == .ingressVSwitchEthernet ? Self.ingressFields : Self.egressFields
    case .network, .stream: []
    }
  }

  private static let ethernetFields: [Field] = [
    .interfaceMACAddress, .macLocalAddress, .macRemoteAddress, .macLocalAddressType,
    .macRemoteAddressType, .etherType, .vlanID, .interface, .interfaceIndex, .ndisPort, .l2Flags,
    .compartmentID,
  ]

  private static let nativeFields: [Field] = [
    .ndisMediaType, .ndisPhysicalMediaType, .interface, .interfaceType, .interfaceIndex, .ndisPort,
    .l2Flags, .compartmentID,
  ]

  private static let switchFields: [Field] = [
    .macSourceAddress, .macSourceAddressType, .macDestinationAddress, .macDestinationAddressType,
    .etherType, .vlanID, .vSwitchTenantNetworkID, .vSwitchID, .vSwitchNetworkType,
    .vSwitchSourceInterfaceID, .vSwitchSourceInterfaceType, .vSwitchSourceVMID,
  ]

  private static let ingressFields = switchFields + [.l2Flags, .compartmentID]

  private static let egressFields =
    switchFields + [
      .vSwitchDestinationInterfaceID, .vSwitchDestinationInterfaceType, .vSwitchDestinationVMID,
      .l2Flags, .compartmentID,
    ]
}

extension Field {
  /// The field's index among those of `layer`, nil if WFP has no such field there.
  public func index(at layer: Layer) -> Int? { layer.fields.firstIndex(of: self) }

  /// Which fields of `layer` name the end of a frame that this one names elsewhere, nil if none.
  func substitute(at layer: Layer) -> String? {
    switch layer.medium {
    case .ethernet:
      let isInbound = layer.direction == .inbound
      switch self {
      case .macSourceAddress: return (isInbound ? Field.macRemoteAddress : .macLocalAddress).name
      case .macDestinationAddress:
        return (isInbound ? Field.macLocalAddress : .macRemoteAddress).name
      case .macSourceAddressType:
        return (isInbound ? Field.macRemoteAddressType : .macLocalAddressType).name
      case .macDestinationAddressType:
        return (isInbound ? Field.macLocalAddressType : .macRemoteAddressType).name
      default: return nil
      }
    case .virtualSwitch:
      let ends: [Field]
      switch self {
      case .macLocalAddress, .macRemoteAddress: ends = [.macSourceAddress, .macDestinationAddress]
      case .macLocalAddressType, .macRemoteAddressType:
        ends = [.macSourceAddressType, .macDestinationAddressType]
      default: return nil
      }
      let names = ends.map(\.name).joined(separator: " or ")
      return "\(names): bridged frames have no local end"
    case .native, .network, .stream: return nil
    }
  }

  /// The type of the field's values at `layer`.
  public func dataType(at layer: Layer) -> FieldDataType {
    switch self {
    case .icmpType, .icmpCode, .originalICMPType: return .uint16
    case .aleOriginalAppID, .aleSecurityAttributeFQBNValue: return .byteBlob
    case .aleUserID, .aleRemoteUserID, .aleRemoteMachineID: return .securityDescriptor
    case .alePackageID: return .sid
    case .aleEffectiveName, .peerName: return .unicodeString
    case .bitmapIPLocalAddress, .bitmapIPLocalPort, .bitmapIPRemoteAddress, .bitmapIPRemotePort:
      return .bitmapIndex
    case .vSwitchID, .vSwitchSourceInterfaceID, .vSwitchSourceVMID,
      .vSwitchDestinationInterfaceID, .vSwitchDestinationVMID:
      return .byteBlob
    default: break
    }
    switch valueType {
    case .integer(8): return .uint8
    case .integer(16): return .uint16
    case .integer(64): return .uint64
    case .integer, .flags: return .uint32
    case .address: return layer.isIPv6 ? .byteArray16 : .uint32
    case .macAddress: return .byteArray6
    case .blob: return .byteBlob
    }
  }
}

/// The bits of the field `l2Flags`, under WFP's values.
///
/// Mirrors `FWP_CONDITION_L2_*`.
public struct L2Flags: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The bits.
  public let rawValue: UInt32
  /// From bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// The interface is an Ethernet.
  public static let nativeEthernet = L2Flags(rawValue: 0x01)
  /// The interface is a Wi-Fi station.
  public static let wiFi = L2Flags(rawValue: 0x02)
  /// The interface is a mobile modem.
  public static let mobileBroadband = L2Flags(rawValue: 0x04)
  /// Wi-Fi Direct data; never set, Linux does not tell it apart.
  public static let wiFiDirectData = L2Flags(rawValue: 0x08)
  /// From one virtual machine of a bridge to another.
  public static let vmToVM = L2Flags(rawValue: 0x10)
  /// The frame's headers cannot be read.
  public static let malformed = L2Flags(rawValue: 0x20)
  /// A group of fragments; never set, since fragments are indicated one by one.
  public static let fragmentGroup = L2Flags(rawValue: 0x40)
  /// The interface has a physical connector.
  public static let connectorPresent = L2Flags(rawValue: 0x80)

  /// The names in policy files.
  public static let names: [(name: String, flag: L2Flags)] = [
    ("native-ethernet", .nativeEthernet), ("wifi", .wiFi), ("mobile-broadband", .mobileBroadband),
    ("wifi-direct-data", .wiFiDirectData), ("vm-to-vm", .vmToVM), ("malformed", .malformed),
    ("ip-fragment-group", .fragmentGroup), ("connector-present", .connectorPresent),
  ]
}
