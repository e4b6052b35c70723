// SPDX-License-Identifier: Apache-2.0

/// The names of our chains in iptables.
struct OurChains {
  /// The chains' prefix, for example `CALLOUT-`.
  let prefix: String

  init(table: String) { prefix = table.uppercased() + "-" }

  func name(_ hook: RuleHook) -> String { prefix + hook.builtInChain }

  /// The most chains of a program: names have 28 characters at most.
  static let mostOfHook = 999

  /// The chain of a program at a hook; number 0 is the one that queues.
  func name(_ number: Int, of hook: RuleHook) -> String {
    "\(programPrefix)\(Self.short(hook))-\(number)"
  }

  /// The chain in which rules are tried.
  var rehearsal: String { programPrefix + "TRY" }

  private var programPrefix: String { prefix + "KF-" }

  /// The name of a hook in those of program chains and sets.
  static func short(_ hook: RuleHook) -> String {
    switch hook {
    case .prerouting: "PRE"
    case .input: "IN"
    case .forward: "FWD"
    case .output: "OUT"
    case .postrouting: "POST"
    }
  }

  func owns(_ chain: String?) -> Bool {
    guard let chain else { return false }
    return isOfProgram(chain) || RuleHook.allCases.contains { self.name($0) == chain }
  }

  /// A chain of a program of ours, known by its name.
  func isOfProgram(_ chain: String) -> Bool { chain.hasPrefix(programPrefix) }

  /// The hook of a chain in which a program queues; nil for any other.
  func queueHook(of chain: String) -> RuleHook? {
    RuleHook.allCases.first { name(0, of: $0) == chain }
  }

  /// A rule of ours in the chain of a hook.
  fileprivate func isOurs(_ rule: SavedRule, _ family: Families) -> Bool {
    guard rule.table == "mangle",
      let hook = RuleHook.allCases.first(where: { name($0) == rule.chain })
    else { return false }
    return entersProgram(rule) || InstalledRule(rule, hook: hook, family: family) != nil
  }

  /// It sends packets to a program of ours, and does nothing else.
  fileprivate func entersProgram(_ rule: SavedRule) -> Bool {
    rule.words.count == 2 && rule.words.first == "-g" && isOfProgram(rule.words[1])
  }

  /// What `rule` says, if it is one of ours that queues.
  fileprivate func queueing(_ rule: SavedRule, _ family: Families) -> InstalledRule? {
    guard rule.table == "mangle" else { return nil }
    if let hook = queueHook(of: rule.chain) {
      var decoded = InstalledRule(rule, hook: hook, family: family)
      decoded?.isSelective = true
      return decoded
    }
    return RuleHook.allCases.first { name($0) == rule.chain }
      .flatMap { InstalledRule(rule, hook: $0, family: family) }
  }

  /// The mangle table of one family.
  func read(_ family: Families) async throws(RuleError) -> SavedRules {
    let program = family.command("tables-save")
    let text = try await Program.run(program, ["-t", "mangle", "-c"])
    return try SavedRule.parse(text, from: program)
  }
}

extension SavedRules {
  func has(_ chain: String) -> Bool { chains["mangle"]?.contains(chain) ?? false }

  func jumps(from hook: RuleHook, to chain: String) -> Bool {
    rules.contains {
      $0.table == "mangle" && $0.chain == hook.builtInChain && $0.words == ["-j", chain]
    }
  }

  func present(_ ours: OurChains) -> [(hook: RuleHook, chain: String)] {
    RuleHook.allCases.map { ($0, ours.name($0)) }.filter { has($0.1) }
  }

  func mentions(_ ours: OurChains) -> Bool { !present(ours).isEmpty }

  /// Our rules in the chains of hooks.
  func ours(_ chains: OurChains, _ family: Families) -> [SavedRule] {
    rules.filter { chains.isOurs($0, family) }
  }

  /// Our rules that queue.
  func queueing(_ chains: OurChains, _ family: Families) -> [InstalledRule] {
    rules.compactMap { chains.queueing($0, family) }
  }

  /// The chains of programs.
  func programs(_ chains: OurChains) -> [String] {
    (self.chains["mangle"] ?? []).filter(chains.isOfProgram)
  }

  /// The lines that take the chains of programs away; rules that lead to them must be gone.
  func removal(ofPrograms chains: OurChains) -> [String] {
    let programs = programs(chains)
    return programs.map { "-F \($0)" } + programs.map { "-X \($0)" }
  }

  /// Our chains that hold no rule of others, and that nothing but our own jump leads to.
  func removable(
    _ chains: OurChains, _ family: Families
  ) -> [(hook: RuleHook, chain: String)] {
    present(chains).filter { hook, chain in
      rules.allSatisfy { rule in
        guard rule.table == "mangle" else { return true }
        if rule.chain == chain { return chains.isOurs(rule, family) }
        guard rule.target == chain || rule.words.contains("-g") && rule.words.last == chain else {
          return true
        }
        return rule.chain == hook.builtInChain && rule.words == ["-j", chain]
      }
    }
  }
}

extension SavedRule {
  /// The line that deletes it.
  var deletion: String { text.replacingPrefix("-A ", with: "-D ") }
}

extension InstalledRules {
  /// Adds what one family's tables hold of ours.
  mutating func add(_ saved: SavedRules, family: Families, chains: OurChains) {
    for (hook, chain) in saved.present(chains) where saved.jumps(from: hook, to: chain) {
      hooks.insert(hook)
      for rule in saved.rules where rule.table == "mangle" && rule.chain == chain {
        if !chains.isOurs(rule, family) {
          unrecognized.append(rule.text)
          intruders.append(rule.text)
        }
      }
      // A program that no rule leads to queues nothing.
      let isEntered = saved.rules.contains {
        $0.table == "mangle" && $0.chain == chain && chains.entersProgram($0)
      }
      rules += saved.queueing(chains, family).filter {
        $0.hook == hook && (isEntered || !$0.isSelective)
      }
    }
  }
}

extension InstalledRule {
  /// Reads a rule that ``PlannedRule/iptables(in:)`` made; nil if it is anything else.
  fileprivate init?(_ rule: SavedRule, hook: RuleHook, family: Families) {
    guard let naming = rule.queue, let queues = naming.queues else { return nil }
    let passMark = rule.value(of: "--mark").flatMap(parseMark)
    self.init(
      hook: hook, priority: RuleSet.manglePriority, family: family, queues: queues,
      bypass: naming.bypass, passMark: passMark, packets: rule.packets, bytes: rule.bytes)
    // Anything more than we write narrows the rule: then it is somebody else's.
    let known = SavedRule.split(planned.iptables(in: rule.chain)[...]).count
    guard rule.words.count + 2 == known, passMark == nil || rule.isNegated("--mark") else {
      return nil
    }
  }
}
