// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// What the registration of a callout says of flows.
package struct FlowRule: BitwiseCopyable, Sendable {
  /// It is asked only of flows that bear a context of it.
  var isConditional = false
  /// It is done with a flow after it was asked so often; 0 never.
  var limit: UInt64 = 0

  package init(_ registration: CalloutRegistration) {
    isConditional = registration.isConditionalOnFlow
    limit = UInt64(registration.packetsPerFlow ?? 0)
  }
}

// The flow of the packet that is classified, for the callout that is asked.
extension Classification {
  /// The number of the packet's flow, never given twice; nil if it is of none that is followed.
  ///
  /// `FWPS_METADATA_FIELD_FLOW_HANDLE`.
  public var flowID: UInt64? { flow >= 0 ? flows[flow].id : nil }

  /// The context that this callout has put on the flow for this layer, 0 if it has put none.
  ///
  /// The `flowContext` of `classifyFn`.
  public var flowContext: UInt64 {
    flow >= 0 ? flows.context(flow, askedCallout, packet.layer) : 0
  }

  /// Puts a context on the packet's flow for one layer, this one if none is named.
  ///
  /// Each packet of the flow that the callout is asked about there brings it as `flowContext`, until
  /// the flow ends or the context is removed: then `flowDeleted` is called, once. Mirrors
  /// `FwpsFlowAssociateContext0`.
  public mutating func associateFlowContext(
    _ context: UInt64, at layer: Layer? = nil
  ) throws(FlowError) {
    try flows.associate(context, flow, askedCallout, layer?.rawValue ?? packet.layer)
  }

  /// Takes this callout's context of a layer, this one if none is named, off the packet's flow.
  ///
  /// `flowDeleted` is called after `classify`. Mirrors `FwpsFlowRemoveContext0`, which answers
  /// `STATUS_PENDING` then.
  public mutating func removeFlowContext(at layer: Layer? = nil) throws(FlowError) {
    try flows.remove(flow, askedCallout, layer?.rawValue ?? packet.layer)
  }

  /// Ends the packet's flow: its contexts go, and none of its later packets passes.
  ///
  /// Mirrors `FwpsFlowAbort0`.
  public mutating func abortFlow() throws(FlowError) {
    guard flow >= 0 else { throw .noFlow }
    flows[flow].isAborted = true
    flows.dropNotes(of: flow)
    answer = .block
  }

  /// Permits the packet and says that this callout need not be asked about the rest of its flow.
  ///
  /// Its filters permit softly from then on, or hard where they clear the right; inspecting ones are
  /// passed over. When all callouts that can match the flow have released it, the kernel may be told
  /// to let its packets pass unseen. Another policy voids it. Goes beyond WFP.
  public mutating func permitRestOfFlow() {
    answer = .permit
    release()
  }

  private mutating func release() {
    if flows.release(flow, askedCallout) { hasReleased = true }
  }

  /// What flows have to say of a filter that asks a callout: nil if the callout is to be asked, else
  /// whether the filter ends its sublayer.
  mutating func passedByFlow(
    _ filter: CompiledPolicy.CompiledFilter, _ decision: inout Decision
  ) -> Bool? {
    askedCallout = filter.callout
    let number = Int(filter.callout)
    guard number >= 0, number < flowRules.count else { return nil }
    if flow >= 0, number < 64, flows[flow].released >> UInt64(number) & 1 != 0 {
      if filter.action == .calloutInspection { return false }
      decision.combine(.permit, filter, isHard: filter.isHard, isCallout: true)
      return true
    }
    return flowRules[number].isConditional && flowContext == 0 ? false : nil
  }

  /// Counts that the callout was asked, and releases the flow if that was the last time.
  mutating func noteAsked() {
    guard flow >= 0, askedCallout >= 0, Int(askedCallout) < flowRules.count else { return }
    let limit = flowRules[Int(askedCallout)].limit
    guard limit > 0, flows.count(flow, askedCallout) >= limit else { return }
    release()
  }
}
