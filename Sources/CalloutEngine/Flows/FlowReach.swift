// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
internal import PacketViews

/// Which callouts of a policy can be asked about a flow, as far as its ends and its protocol tell.
///
/// It may name more than there are, never fewer.
package struct FlowReach: Sendable {
  private enum Part: BitwiseCopyable { case transportProtocol, address, port }

  private struct Group: Sendable {
    var part: Part
    var conditions: [Condition]

    /// Whether one of two values, or a single one, is accepted.
    func accepts(_ first: UInt128, _ second: UInt128) -> Bool {
      conditions.contains { condition in
        let compiled = CompiledCondition(condition, endsGroup: true)
        return compiled.accepts(first) || compiled.accepts(second)
      }
    }
  }

  private struct Reach: Sendable {
    var callout: Int
    var isIPv6: Bool
    var isAuthorization: Bool
    var groups: [Group]
  }

  private var reaches: [Reach] = []

  /// The reach of no callout.
  package init() {}

  /// The reach of a policy's callouts.
  package init(_ policy: FilterPolicy) {
    for filter in policy.filters where !filter.flags.contains(.disabled) {
      guard let name = filter.action.callout, !filter.layer.indicatesFrames,
        !filter.layer.indicatesFlows,
        let callout = policy.callouts.firstIndex(where: { $0.name == name })
      else { continue }
      let groups = Dictionary(grouping: filter.conditions, by: \.field).compactMap { field, all in
        Self.part(field).map { Group(part: $0, conditions: all) }
      }
      reaches.append(
        Reach(
          callout: callout, isIPv6: filter.layer.isIPv6,
          isAuthorization: filter.layer.isFlowAuthorization, groups: groups))
    }
  }

  /// Whether a callout that has not released the flow may still be asked about its packets.
  package func isWanted(_ flow: FlowEntry, isAuthorized: Bool) -> Bool {
    let key = flow.key
    return reaches.contains { reach in
      if reach.isIPv6 != key.isIPv6 { return false }
      if reach.callout < 64, flow.released >> UInt64(reach.callout) & 1 != 0 { return false }
      if reach.isAuthorization, isAuthorized { return false }
      return reach.groups.allSatisfy { group in
        switch group.part {
        case .transportProtocol:
          let number = UInt128(key.protocolNumber)
          return group.accepts(number, number)
        case .address:
          return group.accepts(
            UInt128(key.firstHigh) << 64 | UInt128(key.firstLow),
            UInt128(key.secondHigh) << 64 | UInt128(key.secondLow))
        case .port:
          return group.accepts(UInt128(key.firstPort), UInt128(key.secondPort))
        }
      }
    }
  }

  private static func part(_ field: Field) -> Part? {
    switch field {
    case .ipProtocol: .transportProtocol
    case .ipLocalAddress, .ipRemoteAddress, .ipSourceAddress, .ipDestinationAddress: .address
    case .ipLocalPort, .ipRemotePort, .ipSourcePort, .ipDestinationPort: .port
    default: nil
    }
  }
}
