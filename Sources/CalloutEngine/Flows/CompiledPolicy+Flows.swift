// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging

extension CompiledPolicy {
  /// Whether packets' flows must be looked up.
  package var followsFlows: Bool {
    callouts.contains(where: \.needsFlows)
      || policy.layers.contains { $0.isFlowAuthorization || $0.indicatesFlows }
  }

  /// What each callout has said of flows, by number.
  package var flowRules: [FlowRule] { callouts.map { FlowRule($0) } }

  /// The numbers that callouts of another policy have in this one, by their numbers there; those that
  /// are not in this one, or are made anew, have none.
  package func numbers(of others: [CalloutRegistration]) -> [Int32?] {
    others.map { other in
      callouts.firstIndex { $0.name == other.name && $0.revision == other.revision }
        .map { Int32($0) }
    }
  }
}
