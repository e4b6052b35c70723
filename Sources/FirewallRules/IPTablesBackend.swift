// SPDX-License-Identifier: Apache-2.0

/// Our rules in chains of our own in iptables' mangle tables.
///
/// Nothing here unhooks anything: built-in chains stay, only rules in them come and go. A packet that
/// our rule queues or lets pass by bypass meets no later rule of the same built-in chain.
enum IPTablesBackend {
  /// Replaces our rules, with one `iptables-restore` per family; if one fails, none are replaced.
  ///
  /// Returns what the replaced rules had counted, in packets.
  static func apply(_ ruleSet: RuleSet) async throws(RuleError) -> UInt64 {
    try ruleSet.validate()
    guard ruleSet.planned(in: .bridge).isEmpty else {
      throw .noBridgeQueue(reason: "iptables knows no frames")
    }
    guard ruleSet.priority == RuleSet.manglePriority else {
      throw .invalidRuleSet("iptables rules stand in the mangle table: the priority must be -150")
    }
    let chains = OurChains(table: ruleSet.table)
    var replaced: [(family: Families, saved: SavedRules)] = []
    do {
      for family in Families.both.each {
        let wanted = ruleSet.hooks.values.contains { $0.contains(family) }
        guard wanted || family.hasPrograms else { continue }
        let saved = try await chains.read(family)
        guard wanted || saved.mentions(chains) else { continue }
        try await restore(family, restoreText(ruleSet, family: family, saved: saved))
        replaced.append((family, saved))
      }
    } catch {
      for (family, saved) in replaced {
        do {
          let now = try await chains.read(family)
          try await restore(family, putBackText(saved, over: now, chains, family))
        } catch let failure {
          throw .notPutBack(cause: error, rules: failure)
        }
      }
      throw error
    }
    return replaced.reduce(0) { sum, each in
      each.saved.ours(chains, each.family).reduce(sum) { $0 &+ $1.packets }
    }
  }

  private static func restore(_ family: Families, _ text: String) async throws(RuleError) {
    _ = try await Program.run(
      family.command("tables-restore"), ["--noflush", "--wait", "--counters"], input: text)
  }

  /// The input that takes back what `restoreText` has made of `saved`, counts and all.
  static func putBackText(
    _ saved: SavedRules, over now: SavedRules, _ chains: OurChains, _ family: Families
  ) -> String {
    var lines = ["*mangle"]
    for (hook, chain) in now.present(chains)
    where now.jumps(from: hook, to: chain) && !saved.jumps(from: hook, to: chain) {
      lines.append("-D \(hook.builtInChain) -j \(chain)")
    }
    lines += now.ours(chains, family).map(\.deletion)
    lines += now.present(chains).filter { !saved.has($0.chain) }.map { "-X \($0.chain)" }
    lines += saved.ours(chains, family).map { "[\($0.packets):\($0.bytes)] \($0.text)" }
    return (lines + ["COMMIT", ""]).joined(separator: "\n")
  }

  /// The input that brings one family's tables from `saved` to what `ruleSet` asks for.
  ///
  /// A chain that exists is not named in it, since that would flush what others have put there.
  static func restoreText(_ ruleSet: RuleSet, family: Families, saved: SavedRules) -> String {
    let chains = OurChains(table: ruleSet.table)
    let wanted = ruleSet.planned.filter { $0.family == family }
    var lines = ["*mangle"]
    for hook in RuleHook.allCases
    where !saved.has(chains.name(hook)) && wanted.contains(where: { $0.hook == hook }) {
      lines.append(":\(chains.name(hook)) - [0:0]")
    }
    // Chains of hooks no longer wanted lose their rules; the jumps to them do no harm.
    lines += saved.ours(chains, family).map(\.deletion)
    for rule in wanted { lines.append(rule.iptables(in: chains.name(rule.hook))) }
    for rule in wanted where !saved.jumps(from: rule.hook, to: chains.name(rule.hook)) {
      lines.append("-A \(rule.hook.builtInChain) -j \(chains.name(rule.hook))")
    }
    return (lines + ["COMMIT", ""]).joined(separator: "\n")
  }

  /// Deletes our rules; our chains and the jumps to them stay.
  static func empty(table: String) async throws(RuleError) {
    try await change(table) { saved, chains, family in
      saved.ours(chains, family).map(\.deletion)
    }
  }

  /// Deletes our rules, and our chains with the jumps to them where nothing of others is left.
  static func remove(table: String) async throws(RuleError) {
    try await change(table) { saved, chains, family in
      let removable = saved.removable(chains, family)
      let jumps = removable.filter { saved.jumps(from: $0.hook, to: $0.chain) }
        .map { "-D \($0.hook.builtInChain) -j \($0.chain)" }
      return jumps + saved.ours(chains, family).map(\.deletion) + removable.map { "-X \($0.chain)" }
    }
  }

  /// Sends what `lines` makes of each family's mangle table to `iptables-restore`.
  private static func change(
    _ table: String, _ lines: (SavedRules, OurChains, Families) -> [String]
  ) async throws(RuleError) {
    let chains = OurChains(table: table)
    for family in Families.both.each where family.hasPrograms {
      let changes = lines(try await chains.read(family), chains, family)
      guard !changes.isEmpty else { continue }
      try await restore(family, (["*mangle"] + changes + ["COMMIT", ""]).joined(separator: "\n"))
    }
  }

  /// What our chains hold; nil if there is none.
  static func installed(table: String) async throws(RuleError) -> InstalledRules? {
    let chains = OurChains(table: table)
    var found = InstalledRules(backend: .iptables, table: table)
    for family in Families.both.each where family.hasPrograms {
      found.add(try await chains.read(family), family: family, chains: chains)
    }
    guard !found.hooks.isEmpty else { return nil }
    found.sort()
    return found
  }
}

/// The names of our chains in iptables.
struct OurChains {
  /// The chains' prefix, for example `CALLOUT-`.
  let prefix: String

  init(table: String) { prefix = table.uppercased() + "-" }

  func name(_ hook: RuleHook) -> String { prefix + hook.builtInChain }

  func owns(_ chain: String?) -> Bool {
    chain.map { name in RuleHook.allCases.contains { self.name($0) == name } } ?? false
  }

  /// What `rule` says, if it is a rule of ours in one of our chains.
  fileprivate func rule(_ rule: SavedRule, _ family: Families) -> InstalledRule? {
    guard rule.table == "mangle",
      let hook = RuleHook.allCases.first(where: { name($0) == rule.chain })
    else { return nil }
    return InstalledRule(rule, hook: hook, family: family)
  }

  /// The mangle table of one family.
  func read(_ family: Families) async throws(RuleError) -> SavedRules {
    let program = family.command("tables-save")
    let text = try await Program.run(program, ["-t", "mangle", "-c"])
    return try SavedRule.parse(text, from: program)
  }
}

extension SavedRules {
  fileprivate func has(_ chain: String) -> Bool { chains["mangle"]?.contains(chain) ?? false }

  fileprivate func jumps(from hook: RuleHook, to chain: String) -> Bool {
    rules.contains {
      $0.table == "mangle" && $0.chain == hook.builtInChain && $0.words == ["-j", chain]
    }
  }

  fileprivate func present(_ ours: OurChains) -> [(hook: RuleHook, chain: String)] {
    RuleHook.allCases.map { ($0, ours.name($0)) }.filter { has($0.1) }
  }

  fileprivate func mentions(_ ours: OurChains) -> Bool { !present(ours).isEmpty }

  /// Our rules in our chains.
  fileprivate func ours(_ chains: OurChains, _ family: Families) -> [SavedRule] {
    rules.filter { chains.rule($0, family) != nil }
  }

  /// Our chains that hold no rule of others, and that nothing but our own jump leads to.
  fileprivate func removable(
    _ chains: OurChains, _ family: Families
  ) -> [(hook: RuleHook, chain: String)] {
    present(chains).filter { hook, chain in
      rules.allSatisfy { rule in
        guard rule.table == "mangle" else { return true }
        if rule.chain == chain { return chains.rule(rule, family) != nil }
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
  fileprivate var deletion: String { text.replacingPrefix("-A ", with: "-D ") }
}

extension InstalledRules {
  /// Adds what one family's tables hold of ours.
  fileprivate mutating func add(_ saved: SavedRules, family: Families, chains: OurChains) {
    for (hook, chain) in saved.present(chains) where saved.jumps(from: hook, to: chain) {
      hooks.insert(hook)
      for rule in saved.rules where rule.table == "mangle" && rule.chain == chain {
        guard let decoded = chains.rule(rule, family) else {
          unrecognized.append(rule.text)
          continue
        }
        rules.append(decoded)
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

extension PlannedRule {
  /// The rule as iptables-restore reads it.
  func iptables(in chain: String) -> String {
    var words = ["-A", chain]
    if let passMark { words += ["-m", "mark", "!", "--mark", passMark.description] }
    words += ["-j", "NFQUEUE"]
    words +=
      queues.count == 1
      ? ["--queue-num", "\(queues.lowerBound)"]
      : ["--queue-balance", "\(queues.lowerBound):\(queues.upperBound)"]
    if bypass { words.append("--queue-bypass") }
    return words.joined(separator: " ")
  }
}

extension Families {
  /// `iptables…` for IPv4, `ip6tables…` for IPv6.
  func command(_ suffix: String) -> String { (self == .ipv6 ? "ip6" : "ip") + suffix }

  /// True if the family's programs are installed.
  var hasPrograms: Bool { Program.path(of: command("tables-restore")) != nil }
}

extension String {
  func replacingPrefix(_ prefix: String, with other: String) -> String {
    hasPrefix(prefix) ? other + dropFirst(prefix.count) : self
  }
}
