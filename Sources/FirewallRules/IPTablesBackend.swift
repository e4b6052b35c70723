// SPDX-License-Identifier: Apache-2.0

/// Our rules in chains of our own in iptables' mangle tables.
///
/// Nothing here unhooks anything: built-in chains stay, only rules in them come and go. A packet that
/// our rule queues or lets pass by bypass meets no later rule of the same built-in chain.
enum IPTablesBackend {
  /// Replaces our rules, with one `iptables-restore` per family.
  static func apply(_ ruleSet: RuleSet) async throws(RuleError) {
    try ruleSet.validate()
    guard ruleSet.priority == RuleSet.manglePriority else {
      throw .invalidRuleSet("iptables rules stand in the mangle table: the priority must be -150")
    }
    for family in Families.both.each {
      let wanted = ruleSet.hooks.values.contains { $0.contains(family) }
      guard wanted || family.hasPrograms else { continue }
      let chains = OurChains(table: ruleSet.table)
      let saved = try await chains.read(family)
      guard wanted || saved.mentions(chains) else { continue }
      let text = restoreText(ruleSet, family: family, saved: saved)
      _ = try await Program.run(
        family.command("tables-restore"), ["--noflush", "--wait"], input: text)
    }
  }

  /// The input that brings one family's tables from `saved` to what `ruleSet` asks for.
  ///
  /// Naming a chain of one's own in it flushes that chain, so contents are replaced at once.
  static func restoreText(_ ruleSet: RuleSet, family: Families, saved: SavedRules) -> String {
    let chains = OurChains(table: ruleSet.table)
    let wanted = ruleSet.planned.filter { $0.family == family }
    var lines = ["*mangle"]
    // Chains of hooks no longer wanted are emptied; their jumps do no harm.
    for hook in RuleHook.allCases
    where saved.has(chains.name(hook)) || wanted.contains(where: { $0.hook == hook }) {
      lines.append(":\(chains.name(hook)) - [0:0]")
    }
    for rule in wanted { lines.append(rule.iptables(in: chains.name(rule.hook))) }
    for rule in wanted where !saved.jumps(from: rule.hook, to: chains.name(rule.hook)) {
      lines.append("-A \(rule.hook.builtInChain) -j \(chains.name(rule.hook))")
    }
    return (lines + ["COMMIT", ""]).joined(separator: "\n")
  }

  /// Flushes our chains.
  static func empty(table: String) async throws(RuleError) {
    let chains = OurChains(table: table)
    for family in Families.both.each where family.hasPrograms {
      let present = try await chains.read(family).present(chains)
      guard !present.isEmpty else { continue }
      let lines = ["*mangle"] + present.map { ":\($0.chain) - [0:0]" } + ["COMMIT", ""]
      _ = try await Program.run(
        family.command("tables-restore"), ["--noflush", "--wait"],
        input: lines.joined(separator: "\n"))
    }
  }

  /// Deletes our chains and the jumps to them.
  static func remove(table: String) async throws(RuleError) {
    let chains = OurChains(table: table)
    for family in Families.both.each where family.hasPrograms {
      let saved = try await chains.read(family)
      let present = saved.present(chains)
      guard !present.isEmpty else { continue }
      var lines = ["*mangle"]
      for rule in saved.rules where chains.owns(rule.target) && !chains.owns(rule.chain) {
        lines.append(rule.text.replacingPrefix("-A ", with: "-D "))
      }
      lines += present.map { "-F \($0.chain)" } + present.map { "-X \($0.chain)" }
      _ = try await Program.run(
        family.command("tables-restore"), ["--noflush", "--wait"],
        input: (lines + ["COMMIT", ""]).joined(separator: "\n"))
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
}

extension InstalledRules {
  /// Adds what one family's tables hold of ours.
  fileprivate mutating func add(_ saved: SavedRules, family: Families, chains: OurChains) {
    for (hook, chain) in saved.present(chains) where saved.jumps(from: hook, to: chain) {
      hooks.insert(hook)
      for rule in saved.rules where rule.table == "mangle" && rule.chain == chain {
        guard let decoded = InstalledRule(rule, hook: hook, family: family) else {
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
