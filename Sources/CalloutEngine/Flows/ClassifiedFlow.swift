// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

/// A flow of this host that is established or has ended, as callouts are told of it: no packet is at
/// hand, so nothing can be held, tagged or changed.
///
/// What `classifyFn` gets at `FWPS_LAYER_ALE_FLOW_ESTABLISHED_*` and
/// `FWPS_LAYER_ALE_ENDPOINT_CLOSURE_*`.
public struct ClassifiedFlow: Sendable, BitwiseCopyable {
  /// `aleFlowEstablished…` or `aleEndpointClosure…`.
  public var layer: Layer
  /// The flow's number, never given twice.
  public var id: UInt64
  /// Whether another host has opened it; this host otherwise.
  public var isInbound: Bool
  /// The transport protocol.
  public var transportProtocol: IPProtocol
  /// This host's end.
  public var localAddress: IPAddress
  /// The peer's end.
  public var remoteAddress: IPAddress
  /// This host's port; of ICMP echo the identifier, as `remotePort`.
  public var localPort: UInt16
  /// The peer's port.
  public var remotePort: UInt16
  /// The device by which the first packet came or left, 0 if it was not told.
  public var device: UInt32 = 0
  /// The owner of the socket that sent the first packet, as far as the kernel told it.
  public var userID: UInt32?
  /// The group of that socket, as far as the kernel told it.
  public var groupID: UInt32?

  /// The flow at `place` of a table, as `layer` shows it.
  package init(_ entry: FlowEntry, at layer: Layer) {
    let (first, firstPort, second, secondPort) = entry.key.ends
    self.layer = layer
    id = entry.id
    isInbound = entry.opener == .remote
    transportProtocol = entry.key.transportProtocol
    // Who opened it sent from the first end, if it is a forward one.
    let isFirstLocal = entry.isForward != isInbound
    (localAddress, remoteAddress) = isFirstLocal ? (first, second) : (second, first)
    (localPort, remotePort) = isFirstLocal ? (firstPort, secondPort) : (secondPort, firstPort)
    device = entry.device
    userID = entry.userID == .max ? nil : entry.userID
    groupID = entry.groupID == .max ? nil : entry.groupID
  }
}

extension ClassifiedFlow: Classifiable {
  func value(of field: Field) -> UInt128? {
    let hasPorts = transportProtocol == .tcp || transportProtocol == .udp
    switch field {
    case .ipProtocol: return UInt128(transportProtocol.rawValue)
    case .ipLocalAddress: return Self.number(localAddress)
    case .ipRemoteAddress: return Self.number(remoteAddress)
    case .ipLocalPort: return hasPorts ? UInt128(localPort) : nil
    case .ipRemotePort: return hasPorts ? UInt128(remotePort) : nil
    case .interfaceIndex: return device == 0 ? nil : UInt128(device)
    case .flags: return device == 1 ? UInt128(ConditionFlags.loopback.rawValue) : 0
    case .userID: return userID.map { UInt128($0) }
    case .groupID: return groupID.map { UInt128($0) }
    case .ipLocalAddressType: return UInt128(localAddress.type.rawValue)
    case .ipDestinationAddressType:
      return UInt128((isInbound ? localAddress : remoteAddress).type.rawValue)
    case .direction:
      return UInt128((isInbound ? Direction.inbound : .outbound).rawValue)
    case .compartmentID: return 1
    default: return nil
    }
  }

  func ask(_ callout: Callout, _ out: inout Classification) { callout.classify(self, &out) }

  private static func number(_ address: IPAddress) -> UInt128 {
    UInt128(address.high) << 64 | UInt128(address.low)
  }
}

extension Field {
  /// Whether flows have it, of which no packet is at hand.
  var isOfFlows: Bool {
    switch self {
    case .ipProtocol, .ipLocalAddress, .ipRemoteAddress, .ipLocalPort, .ipRemotePort,
      .interfaceIndex, .flags, .userID, .groupID, .ipLocalAddressType, .ipDestinationAddressType,
      .direction, .compartmentID:
      true
    default: false
    }
  }
}
