// SPDX-License-Identifier: Apache-2.0

package import Kernel
internal import PacketTagging

/// What became of one packet after all sublayers were asked.
package struct Decision: BitwiseCopyable {
  package enum Outcome: BitwiseCopyable {
    case permit, block, absorb, `repeat`
    case requeue(UInt16)
    case pend(deadline: UInt64)
    case hold(until: UInt64, permits: Bool)
  }
  package var outcome = Outcome.permit
  /// The callout that pends, if one does.
  package var callout: Int32 = -1
  /// The policy's filter that decided, -1 if none matched.
  package var filter: Int32 = -1
  /// Whether a callout blocks what a higher sublayer had permitted for good.
  package var isVeto = false
  var isFinal = false
  /// A pend, hold, repeat or requeue that stands again if the block after it is overridden.
  private var overridden: (outcome: Outcome, filter: Int32, callout: Int32)?

  package init() {}
}

/// What filters can be asked about: a packet or a frame.
protocol Classifiable: ~Copyable, ~Escapable {
  var layer: Layer { get }
  /// The field's value in host order, nil if there is none.
  func value(of field: Field) -> UInt128?
  /// Shows it to a callout.
  func ask(_ callout: Callout, _ out: inout Classification)
}

extension ClassifiedPacket: Classifiable {
  @inline(__always)
  func ask(_ callout: Callout, _ out: inout Classification) { callout.classify(self, &out) }
}

extension ClassifiedFrame: Classifiable {
  @inline(__always)
  func ask(_ callout: Callout, _ out: inout Classification) { callout.classify(self, &out) }
}

extension Classification {
  /// Runs the filters of the packet's layer and combines their answers.
  ///
  /// Every sublayer is asked, so that inspection sees blocked packets too. Block overrides a soft
  /// permit, a permit overrides a soft block, nothing overrides a hard block, and a hard permit
  /// yields to a callout's veto only.
  package mutating func evaluate(
    _ packet: borrowing ClassifiedPacket, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>, hits: inout [UInt64]
  ) -> Decision {
    decide(packet, policy, callouts, hits: &hits)
  }

  /// Runs the filters of the frame's layer and combines their answers, as those of packets.
  package mutating func evaluate(
    _ frame: borrowing ClassifiedFrame, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>, hits: inout [UInt64]
  ) -> Decision {
    isDiverted = frame.layer.indicatesDivertedFrames
    defer { isDiverted = false }
    return decide(frame, policy, callouts, hits: &hits)
  }

  /// Runs the filters of the flow's layer and combines their answers; none can have it wait.
  package mutating func evaluate(
    _ flow: ClassifiedFlow, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>, hits: inout [UInt64]
  ) -> Decision {
    isDiverted = true
    defer { isDiverted = false }
    return decide(flow, policy, callouts, hits: &hits)
  }

  // Inlined, so that packets and frames each have code of their own without witness calls.
  @inline(__always)
  private mutating func decide<Subject: Classifiable & ~Copyable & ~Escapable>(
    _ packet: borrowing Subject, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>, hits: inout [UInt64]
  ) -> Decision {
    var decision = Decision()
    let layer = policy.layers[Int(packet.layer.rawValue)]
    begin(packet, layer, policy)
    var position = next(from: layer.first, packet, layer, policy)
    while position < layer.end {
      let filter = policy.filters[position]
      let number = Int(filter.filter)
      if number < hits.count { hits[number] &+= 1 }
      let ends = ask(filter, packet, callouts, &decision)
      position = ends ? Int(filter.nextSublayer) : position &+ 1
      if position < layer.end { position = next(from: position, packet, layer, policy) }
    }
    return decision
  }

  /// Prepares to look up the filters that match a packet.
  @inline(__always)
  mutating func begin<Subject: Classifiable & ~Copyable & ~Escapable>(
    _ packet: borrowing Subject, _ layer: CompiledPolicy.LayerFilters,
    _ policy: borrowing CompiledPolicy
  ) {
    if layer.node >= 0 { search.begin(packet, layer, policy) }
  }

  /// The place of the first filter that matches, at `position` or behind; the layer's end if none
  /// does.
  @inline(__always)
  mutating func next<Subject: Classifiable & ~Copyable & ~Escapable>(
    from position: Int, _ packet: borrowing Subject, _ layer: CompiledPolicy.LayerFilters,
    _ policy: borrowing CompiledPolicy
  ) -> Int {
    if layer.node >= 0 { return search.next(from: position, until: layer.end, policy) }
    var position = position
    while position < layer.end, !Self.matches(packet, policy.filters[position], policy) {
      position += 1
    }
    return position
  }

  /// True if the filter ended its sublayer.
  @inline(__always)
  mutating func ask<Subject: Classifiable & ~Copyable & ~Escapable>(
    _ filter: CompiledPolicy.CompiledFilter, _ packet: borrowing Subject,
    _ callouts: Span<HeldObject<Callout>>, _ decision: inout Decision
  ) -> Bool {
    switch filter.action {
    case .permit:
      decision.combine(.permit, filter, isHard: filter.isHard, isCallout: false)
      return true
    case .block:
      decision.combine(.block, filter, isHard: true, isCallout: false)
      return true
    case .calloutTerminating, .calloutInspection, .calloutUnknown:
      if followsFlows, let ends = passedByFlow(filter, &decision) { return ends }
      begin(filter, decision)
      callouts[Int(filter.callout)].use { packet.ask($0, &self) }
      if followsFlows { noteAsked() }
      return settle(filter, &decision)
    }
  }

  /// Gives the callout that is asked next its rights.
  @inline(__always)
  mutating func begin(_ filter: CompiledPolicy.CompiledFilter, _ decision: Decision) {
    canWrite = !decision.isFinal
    clearsWrite = false
    mustDecide = filter.action == .calloutTerminating
    filterContext = filter.context
    answer = .none
  }

  /// Takes the callout's answer as far as the filter's type and its rights allow.
  ///
  /// True if the filter ended its sublayer.
  @inline(__always)
  mutating func settle(
    _ filter: CompiledPolicy.CompiledFilter, _ decision: inout Decision
  ) -> Bool {
    switch (filter.action, answer) {
    case (.calloutInspection, _), (.calloutUnknown, .none), (.calloutUnknown, .continue): false
    default: decide(filter, &decision)
    }
  }

  private mutating func decide(
    _ filter: CompiledPolicy.CompiledFilter, _ decision: inout Decision
  ) -> Bool {
    let outcome: Decision.Outcome
    switch answer {
    case .none, .continue: outcome = .block
    case .permit: outcome = .permit
    case .block: outcome = .block
    case .absorb: outcome = .absorb
    case .repeat: outcome = .repeat
    case .requeue(let queue): outcome = .requeue(queue)
    case .pend(let deadline): outcome = .pend(deadline: deadline)
    case .hold(let until, let permits): outcome = .hold(until: until, permits: permits)
    }
    var isHard = clearsWrite
    if filter.isHard, case .permit = outcome { isHard = true }
    let wasBlocked = decision.blocks
    decision.combine(outcome, filter, isHard: isHard, isCallout: true)
    if !canWrite, !wasBlocked, decision.blocks {
      decision.isVeto = true
      events.vetoes &+= 1
    }
    return true
  }

  @inline(__always)
  static func matches<Subject: Classifiable & ~Copyable & ~Escapable>(
    _ packet: borrowing Subject, _ filter: CompiledPolicy.CompiledFilter,
    _ policy: borrowing CompiledPolicy
  ) -> Bool {
    var position = Int(filter.firstCondition)
    let end = Int(filter.endCondition)
    while position < end {
      let value = packet.value(of: policy.conditions[position].field)
      var accepted = false
      while true {
        let condition = policy.conditions[position]
        position += 1
        if let value, condition.accepts(value, policy.sets) { accepted = true }
        if condition.endsGroup { break }
      }
      if !accepted { return false }
    }
    return true
  }
}

extension Decision {
  var blocks: Bool {
    switch outcome {
    case .block, .absorb: true
    default: false
    }
  }

  /// Combines with the answer of the next sublayer.
  mutating func combine(
    _ next: Outcome, _ filter: CompiledPolicy.CompiledFilter, isHard: Bool, isCallout: Bool
  ) {
    let nextBlocks: Bool
    switch next {
    case .block, .absorb: nextBlocks = true
    default: nextBlocks = false
    }
    if isFinal {
      // Only a callout's veto of a hard permit is left.
      guard !blocks, nextBlocks, isCallout else { return }
      take(next, filter)
      return
    }
    if case .permit = next, !blocks, self.filter >= 0 {
      // A plain permit leaves an earlier pend, repeat or requeue standing.
      isFinal = isHard
      return
    }
    isFinal = isHard
    if case .permit = next, blocks, let overridden {
      (outcome, self.filter, callout) = overridden
      return
    }
    if nextBlocks, !blocks { overridden = isOpen ? nil : (outcome, self.filter, callout) }
    take(next, filter)
  }

  private var isOpen: Bool {
    if case .permit = outcome { true } else { false }
  }

  private mutating func take(_ next: Outcome, _ filter: CompiledPolicy.CompiledFilter) {
    outcome = next
    self.filter = filter.filter
    callout = filter.callout
  }
}
