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
    case .ipLocalAddressType:
      return Self.type(isInbound ? layout.destinationAddress : layout.sourceAddress)
    case .ipDestinationAddressType: return Self.type(layout.destinationAddress)
    case .direction: return direction.map { UInt128($0.rawValue) }
    case .compartmentID: return 1
    case .aleAppID: return metadata.program.map { UInt128($0) }
    case .embeddedProtocol: return embedded.map { UInt128($0.transportProtocol.rawValue) }
    case .embeddedRemoteAddress: return embedded.map { Self.number($0.destinationAddress) }
    case .embeddedLocalAddressType: return embedded.flatMap { Self.type($0.sourceAddress) }
    case .embeddedLocalPort: return embedded?.ports.map { UInt128($0.source) }
    case .embeddedRemotePort: return embedded?.ports.map { UInt128($0.destination) }
    default: return interfaceValue(of: field)
    }
  }

  /// The value of a field that is about an interface.
  private func interfaceValue(of field: Field) -> UInt128? {
    switch field {
    case .ipLocalInterface: return isInbound || hook == .forward ? arrival.luid : departure.luid
    case .interfaceType: return isInbound ? arrival.type : departure.type
    case .tunnelType: return isInbound ? arrival.tunnel : departure.tunnel
    case .ipArrivalInterface: return arrival.luid
    case .arrivalInterfaceIndex: return arrival.number
    case .arrivalInterfaceType: return arrival.type
    case .arrivalTunnelType: return arrival.tunnel
    case .ipForwardInterface, .ipNexthopInterface: return departure.luid
    case .nexthopInterfaceIndex: return departure.number
    case .nexthopInterfaceType: return departure.type
    case .nexthopTunnelType: return departure.tunnel
    case .ipPhysicalArrivalInterface: return port(metadata.physicalInputDevice) ?? arrival.luid
    case .ipPhysicalNexthopInterface: return port(metadata.physicalOutputDevice) ?? departure.luid
    // Fields of frames.
    default: return nil
    }
  }

  private var arrival: Interface { Interface(metadata.inputDevice, metadata.inputHardware) }

  private var departure: Interface { Interface(metadata.outputDevice, metadata.outputHardware) }

  /// A port of a bridge, which is an Ethernet.
  private func port(_ index: UInt32) -> UInt128? {
    Interface(index, HardwareType.ethernet.rawValue).luid
  }

  private struct Interface {
    let index: UInt32
    let hardware: HardwareType?

    init(_ index: UInt32, _ hardware: UInt16?) {
      self.index = index
      self.hardware = index == 0 ? nil : hardware.map { HardwareType(rawValue: $0) }
    }

    var number: UInt128? { index == 0 ? nil : UInt128(index) }
    var luid: UInt128? { hardware.map { UInt128($0.luid(ofIndex: index)) } }
    var type: UInt128? { hardware.map { UInt128($0.interfaceType) } }
    var tunnel: UInt128? { hardware.map { UInt128($0.tunnelType) } }
  }

  private var embedded: EmbeddedPacket? {
    switch layer.base ?? layer {
    case .inboundICMPErrorV4, .inboundICMPErrorV6: layout.embedded(in: bytes)
    default: nil
    }
  }

  private static func type(_ address: IPAddress) -> UInt128? { UInt128(address.type.rawValue) }

  /// The packet's condition flags.
  public var flags: ConditionFlags {
    var flags: ConditionFlags = []
    if metadata.inputDevice == 1 || metadata.outputDevice == 1 { flags.insert(.loopback) }
    if layout.isFragment { flags.insert(.fragment) }
    if metadata.isReauthorization { flags.insert(.reauthorize) }
    return flags
  }

  private var isInbound: Bool { hook.rawValue <= Hook.input.rawValue }

  private func device(_ index: UInt32) -> UInt128? { index == 0 ? nil : UInt128(index) }

  private func port(_ port: UInt16) -> UInt128? { layout.hasPorts ? UInt128(port) : nil }

  private static func number(_ address: IPAddress) -> UInt128 {
    UInt128(address.high) << 64 | UInt128(address.low)
  }
}
