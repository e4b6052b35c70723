// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
internal import PacketViews

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
    // Fields of frames.
    default: return nil
    }
  }

  /// The packet's condition flags.
  public var flags: ConditionFlags {
    var flags: ConditionFlags = []
    if metadata.inputDevice == 1 || metadata.outputDevice == 1 { flags.insert(.loopback) }
    if layout.isFragment { flags.insert(.fragment) }
    return flags
  }

  private var isInbound: Bool { hook.rawValue <= Hook.input.rawValue }

  private func device(_ index: UInt32) -> UInt128? { index == 0 ? nil : UInt128(index) }

  private func port(_ port: UInt16) -> UInt128? { layout.hasPorts ? UInt128(port) : nil }

  private static func number(_ address: IPAddress) -> UInt128 {
    UInt128(address.high) << 64 | UInt128(address.low)
  }
}
