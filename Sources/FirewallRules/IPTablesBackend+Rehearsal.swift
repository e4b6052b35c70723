// SPDX-License-Identifier: Apache-2.0

extension IPTablesBackend {
  /// Has the kernel take one rule of each kind of `ruleSet`, in a chain that nothing leads to, and one
  /// set of each type; nothing of it is left.
  static func rehearse(_ ruleSet: RuleSet) async throws(RuleError) {
    let programs = try ruleSet.iptablesPrograms()
    guard !programs.isEmpty else { return }
    let chains = OurChains(table: ruleSet.table)
    let sets = OurSets(chains)
    // An empty set of each type and family instead of each set.
    var samples: [IPTablesProgram.Members] = []
    var names: [String: String] = [:]
    for set in programs.flatMap(\.sets) {
      let known = samples.first { $0.kind == set.kind && $0.family == set.family }
      var sample = set
      sample.entries = []
      if known == nil { samples.append(sample) }
      names[set.name] = known?.name ?? set.name
    }
    try await sets.make(samples, .rehearsal)
    var failure: RuleError?
    for family in Set(programs.map(\.family)) {
      let rules = programs.filter { $0.family == family }.flatMap(\.chains).flatMap(\.rules)
      let lines = samplesOfKinds(rules, names).map {
        "-A \(chains.rehearsal) \($0.text(sets, .rehearsal)) -j RETURN"
      }
      let chain = ":\(chains.rehearsal) - [0:0]"
      do throws(RuleError) {
        try await restore(
          family, (["*mangle", chain] + lines + ["COMMIT", ""]).joined(separator: "\n"))
        let removal = ["-F \(chains.rehearsal)", "-X \(chains.rehearsal)"]
        try await restore(family, (["*mangle"] + removal + ["COMMIT", ""]).joined(separator: "\n"))
      } catch {
        failure = .noKernelFilters(reason: "\(error)")
      }
    }
    await sets.destroy { $0 == .rehearsal }
    if let failure { throw failure }
  }

  /// One rule of each kind, without its target.
  private static func samplesOfKinds(
    _ rules: [IPTablesProgram.Rule], _ names: [String: String]
  ) -> [IPTablesProgram.Rule] {
    var kinds: Set<[String]> = []
    return rules.compactMap { rule in
      var rule = rule
      guard let target = rule.words.firstIndex(where: { $0 == "-j" || $0 == "-g" }) else {
        return nil
      }
      rule.words.removeSubrange(target...)
      for place in rule.words.indices where place > 0 && rule.words[place - 1] == "--match-set" {
        rule.words[place] = names[rule.words[place]] ?? rule.words[place]
      }
      let kind = rule.words.enumerated().filter { place, word in
        word.hasPrefix("-") || place > 0 && ["-m", "--match-set"].contains(rule.words[place - 1])
      }.map(\.element)
      return kinds.insert(kind).inserted ? rule : nil
    }
  }
}
