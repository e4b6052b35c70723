// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
internal import PacketViews

/// Something a condition can test.
///
/// Mirrors `FWPM_CONDITION_*`. Local and remote swap with the layer's direction; at the forward
/// layers there are only source and destination.
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

  /// What values a field takes.
  public enum ValueType: Sendable, Hashable {
    /// An unsigned integer of so many bits.
    case integer(bits: Int)
    /// An address of the layer's family.
    case address
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
    case .flags: .flags
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
    }
  }

  /// The field of that name.
  public init?(name: String) {
    guard let field = Field.allCases.first(where: { $0.name == name }) else { return nil }
    self = field
  }

  /// Whether packets at `layer` can have the field at all.
  public func isAvailable(at layer: Layer) -> Bool {
    switch self {
    case .ipLocalAddress, .ipRemoteAddress, .ipLocalPort, .ipRemotePort: layer.hook != .forward
    case .userID, .groupID: layer.hook == .output || layer.hook == .postrouting
    default: layer.indicatesPackets
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

extension ClassifiedPacket {
  /// The field's value in host order, nil if this packet has none.
  func value(of field: Field) -> UInt128? {
    switch field {
    case .ipProtocol: return UInt128(layout.transportProtocol.rawValue)
    case .ipSourceAddress: return Self.number(layout.sourceAddress)
    case .ipDestinationAddress: return Self.number(layout.destinationAddress)
    case .ipLocalAddress:
      return Self.number(isInbound ? layout.destinationAddress : layout.sourceAddress)
    case .ipRemoteAddress:
      return Self.number(isInbound ? layout.sourceAddress : layout.destinationAddress)
    case .ipSourcePort: return port(layout.sourcePort)
    case .ipDestinationPort: return port(layout.destinationPort)
    case .ipLocalPort: return port(isInbound ? layout.destinationPort : layout.sourcePort)
    case .ipRemotePort: return port(isInbound ? layout.sourcePort : layout.destinationPort)
    case .icmpType: return layout.isICMP ? UInt128(layout.icmpType) : nil
    case .icmpCode: return layout.isICMP ? UInt128(layout.icmpCode) : nil
    case .interfaceIndex: return device(isInbound ? metadata.inputDevice : metadata.outputDevice)
    case .sourceInterfaceIndex: return device(metadata.inputDevice)
    case .destinationInterfaceIndex: return device(metadata.outputDevice)
    case .flags: return UInt128(flags.rawValue)
    case .userID: return metadata.userID.map { UInt128($0) }
    case .groupID: return metadata.groupID.map { UInt128($0) }
    }
  }

  /// The packet's condition flags.
  public var flags: ConditionFlags {
    var flags: ConditionFlags = []
    if metadata.inputDevice == 1 || metadata.outputDevice == 1 { flags.insert(.loopback) }
    if layout.isFragment { flags.insert(.fragment) }
    return flags
  }

  private var isInbound: Bool {
    switch layer.hook {
    case .prerouting, .input: true
    default: false
    }
  }

  private func device(_ index: UInt32) -> UInt128? { index == 0 ? nil : UInt128(index) }

  private func port(_ port: UInt16) -> UInt128? { layout.hasPorts ? UInt128(port) : nil }

  private static func number(_ address: IPAddress) -> UInt128 {
    UInt128(address.high) << 64 | UInt128(address.low)
  }
}
