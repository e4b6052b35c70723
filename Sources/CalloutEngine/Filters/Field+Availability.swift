// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// Whether packets of a layer have a field.
public enum FieldAvailability: Sendable, Hashable {
  /// They have it, or most of them do.
  case available
  /// WFP has it there, Linux cannot tell it; the reason says what to use instead, if anything.
  case unavailable(reason: String)
  /// The layer has no such field.
  case absent
}

extension Field {
  /// Whether packets at `layer` can have the field, and if not, why.
  public func availability(at layer: Layer) -> FieldAvailability {
    if layer.indicatesFrames { return index(at: layer) == nil ? .absent : .available }
    let isListed = index(at: layer) != nil
    if isListed, let reason = unavailability { return .unavailable(reason: reason) }
    if layer.indicatesFlows {
      if isOfFlows { return .available }
      guard isListed else { return .absent }
      return .unavailable(
        reason: self == .aleAppID
          ? "programs are looked for as flows begin; match it at ale-auth-connect or ale-auth-recv-accept"
          : "a flow tells its device's number; match interface-index")
    }
    let place = layer.base ?? layer
    guard place.indicatesPackets else { return .absent }
    if isListed { return .available }
    let isAvailable =
      switch self {
      case .ipProtocol, .ipSourceAddress, .ipDestinationAddress, .ipSourcePort,
        .ipDestinationPort, .icmpType, .icmpCode, .interfaceIndex, .sourceInterfaceIndex,
        .destinationInterfaceIndex, .flags:
        true
      case .ipLocalAddress, .ipRemoteAddress, .ipLocalPort, .ipRemotePort: place.hook != .forward
      case .userID, .groupID:
        place.isFlowAuthorization
          ? place.direction == .outbound
          : !place.hooks.isDisjoint(with: [HookSet(.output), HookSet(.postrouting)])
      default: false
      }
    return isAvailable ? .available : .absent
  }

  /// Whether packets at `layer` can have the field.
  public func isAvailable(at layer: Layer) -> Bool { availability(at: layer) == .available }

  /// Why Linux cannot tell the field wherever WFP has it at a layer of packets, nil if it can.
  private var unavailability: String? {
    switch self {
    case .subInterfaceIndex, .sourceSubInterfaceIndex, .destinationSubInterfaceIndex,
      .nexthopSubInterfaceIndex:
      "Linux has no interfaces below interfaces; match interface-index"
    case .profileID, .arrivalInterfaceProfileID, .nexthopInterfaceProfileID, .originalProfileID,
      .currentProfileID:
      "Linux has no network profiles; match interface-index"
    case .ipsecSecurityRealmID: "Linux has no security realms"
    case .interfaceQuarantineEpoch, .napContext: "Linux has no quarantine"
    case .aleOriginalAppID: "no packet tells who has it sent; match ale-app-id"
    case .aleUserID: "Linux has no tokens; match user-id or group-id"
    case .aleRemoteUserID, .aleRemoteMachineID:
      "no packet tells its sender's account; match ip-remote-address"
    case .alePackageID, .aleSecurityAttributeFQBNValue:
      "Linux has no application containers; match user-id"
    case .aleEffectiveName, .peerName: "packets carry no names; match ip-remote-address"
    case .sioFirewallSystemPort: "Linux reserves no ports for the system; match ip-local-port"
    case .reauthorizeReason: "flows are authorized again after a change of the policy only"
    case .originalICMPType: "match icmp-type: the first packet of a flow is the one that is seen"
    case .bitmapIPLocalAddress, .bitmapIPLocalPort, .bitmapIPRemoteAddress, .bitmapIPRemotePort:
      "give several conditions on the address or port: they are or-ed"
    default: nil
    }
  }
}
