// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging

/// Why the verdict on a packet at one layer is what it is, found without asking any callout.
package struct Explanation: Sendable, Hashable {
  /// What a callout that is asked may say.
  package enum Answer: String, Sendable, CaseIterable { case permit, block, `continue` }

  /// What becomes of the packet if one callout says so, and all others permit or continue.
  package struct Outcome: Sendable, Hashable {
    package var answer: Answer
    package var isPermitted: Bool
  }

  /// A filter that matches, in the order in which filters are met.
  package struct Step: Sendable, Hashable {
    /// Which filter of the policy.
    package var filter: Int
    /// A higher sublayer has the last word: only a block by a callout can still count.
    package var wasFinal: Bool
    /// For each answer of the callout that would be asked; none where no answer counts.
    package var outcomes: [Outcome] = []
  }

  /// The filters that match and are met if no callout ends its sublayer before.
  package var steps: [Step] = []
  /// Whether the packet passes; nil if that is up to callouts.
  package var isPermitted: Bool?
  /// The policy's filter that decides as long as all callouts permit or continue, nil if none does.
  package var filter: Int?

  /// So many callouts are tried in all combinations of their answers.
  static let mostCombined = 6
}

extension CompiledPolicy {
  /// Explains what becomes of a packet.
  package func explain(_ packet: borrowing ClassifiedPacket) -> Explanation {
    explanation(of: matching(packet))
  }

  /// Explains what becomes of a frame.
  package func explain(_ frame: borrowing ClassifiedFrame) -> Explanation {
    explanation(of: matching(frame))
  }

  private func matching<Subject: Classifiable & ~Copyable & ~Escapable>(
    _ packet: borrowing Subject
  ) -> [Int] {
    let layer = layers[Int(packet.layer.rawValue)]
    var matching: [Int] = []
    for position in layer.first..<layer.end
    where Classification.matches(packet, filters[position], self) {
      matching.append(position)
    }
    return matching
  }

  private func explanation(of matching: [Int]) -> Explanation {
    let plain = run(matching, [:])
    var explanation = Explanation()
    var asked: [Int] = []
    for (position, wasFinal) in plain.met {
      var step = Explanation.Step(filter: Int(filters[position].filter), wasFinal: wasFinal)
      let answers = Self.answers(filters[position].action)
      if !answers.isEmpty { asked.append(position) }
      step.outcomes = answers.map { answer in
        Explanation.Outcome(
          answer: answer, isPermitted: !run(matching, [position: answer]).decision.blocks)
      }
      explanation.steps.append(step)
    }
    if plain.decision.filter >= 0 { explanation.filter = Int(plain.decision.filter) }
    guard asked.count <= Explanation.mostCombined else { return explanation }
    let verdicts = combinations(asked).map { !run(matching, $0).decision.blocks }
    if Set(verdicts).count == 1 { explanation.isPermitted = verdicts.first }
    return explanation
  }

  private static func answers(_ action: CompiledFilter.Action) -> [Explanation.Answer] {
    switch action {
    case .permit, .block, .calloutInspection: []
    case .calloutTerminating: [.permit, .block]
    case .calloutUnknown: Explanation.Answer.allCases
    }
  }

  private func combinations(_ asked: [Int]) -> [[Int: Explanation.Answer]] {
    asked.reduce([[:]]) { combinations, position in
      combinations.flatMap { combination in
        Self.answers(filters[position].action).map { answer in
          combination.merging([position: answer]) { $1 }
        }
      }
    }
  }

  /// Lets the packet meet its filters with these answers of callouts; others permit or continue.
  private func run(
    _ matching: [Int], _ answers: [Int: Explanation.Answer]
  ) -> (decision: Decision, met: [(position: Int, wasFinal: Bool)]) {
    var decision = Decision()
    var met: [(position: Int, wasFinal: Bool)] = []
    var next = 0
    for position in matching where position >= next {
      let filter = filters[position]
      met.append((position, decision.isFinal))
      switch filter.action {
      case .permit: decision.combine(.permit, filter, isHard: filter.isHard, isCallout: false)
      case .block: decision.combine(.block, filter, isHard: true, isCallout: false)
      case .calloutInspection: continue
      case .calloutTerminating, .calloutUnknown:
        let other =
          filter.action == .calloutUnknown ? Explanation.Answer.continue : .permit
        switch answers[position] ?? other {
        case .continue: continue
        case .permit:
          decision.combine(.permit, filter, isHard: filter.isHard, isCallout: true)
        case .block: decision.combine(.block, filter, isHard: false, isCallout: true)
        }
      }
      next = Int(filter.nextSublayer)
    }
    return (decision, met)
  }
}
