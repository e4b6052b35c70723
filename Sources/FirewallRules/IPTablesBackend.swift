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
    let programs = try ruleSet.iptablesPrograms()
    var found: [(family: Families, saved: SavedRules)] = []
    for family in Families.both.each {
      let wanted = ruleSet.hooks.values.contains { $0.contains(family) }
      guard wanted || family.hasPrograms else { continue }
      let saved = try await chains.read(family)
      if wanted || saved.mentions(chains) { found.append((family, saved)) }
    }
    let sets = OurSets(chains)
    let generation = sets.free(besides: found.map(\.saved))
    try await sets.make(programs.flatMap(\.sets), generation)
    do throws(RuleError) {
      try await replace(found, by: ruleSet, programs, sets: generation)
    } catch {
      await sets.destroy { $0 == generation }
      throw error
    }
    await sets.destroy { $0 != generation }
    return found.reduce(0) { sum, each in
      each.saved.queueing(chains, each.family).reduce(sum) { $0 &+ $1.packets }
    }
  }

  /// Brings each family from what was found to `ruleSet`, or leaves all as it was.
  private static func replace(
    _ found: [(family: Families, saved: SavedRules)], by ruleSet: RuleSet,
    _ programs: [IPTablesProgram], sets generation: OurSets.Generation
  ) async throws(RuleError) {
    let chains = OurChains(table: ruleSet.table)
    var replaced: [(family: Families, saved: SavedRules)] = []
    do {
      for (family, saved) in found {
        let text = restoreText(
          ruleSet, family: family, saved: saved, programs: programs, sets: generation)
        try await restore(family, text)
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
  }

  static func restore(_ family: Families, _ text: String) async throws(RuleError) {
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
    lines += now.removal(ofPrograms: chains)
    lines += now.present(chains).filter { !saved.has($0.chain) }.map { "-X \($0.chain)" }
    lines += saved.programs(chains).map { ":\($0) - [0:0]" }
    lines += saved.rules.filter { $0.table == "mangle" && chains.isOfProgram($0.chain) }
      .map { "[\($0.packets):\($0.bytes)] \($0.text)" }
    lines += saved.ours(chains, family).map { "[\($0.packets):\($0.bytes)] \($0.text)" }
    return (lines + ["COMMIT", ""]).joined(separator: "\n")
  }

  /// The input that brings one family's tables from `saved` to what `ruleSet` asks for.
  ///
  /// A chain that exists is not named in it, since that would flush what others have put there.
  static func restoreText(
    _ ruleSet: RuleSet, family: Families, saved: SavedRules, programs: [IPTablesProgram],
    sets generation: OurSets.Generation
  ) -> String {
    let chains = OurChains(table: ruleSet.table)
    let wanted = ruleSet.planned.filter { $0.family == family }
    var lines = ["*mangle"]
    for hook in RuleHook.allCases
    where !saved.has(chains.name(hook)) && wanted.contains(where: { $0.hook == hook }) {
      lines.append(":\(chains.name(hook)) - [0:0]")
    }
    // Chains of hooks no longer wanted lose their rules; the jumps to them do no harm.
    lines += saved.ours(chains, family).map(\.deletion)
    lines += saved.removal(ofPrograms: chains)
    let programs = programs.filter { $0.family == family }
    lines += programs.flatMap(\.chains).map { ":\($0.name) - [0:0]" }
    lines += programs.flatMap { $0.lines(sets: OurSets(chains), generation) }
    for rule in wanted {
      let chain = chains.name(rule.hook)
      let entry = programs.first { $0.hook == rule.hook }?.entry
      lines.append(entry.map { "-A \(chain) -g \($0)" } ?? rule.iptables(in: chain))
    }
    for rule in wanted where !saved.jumps(from: rule.hook, to: chains.name(rule.hook)) {
      lines.append("-A \(rule.hook.builtInChain) -j \(chains.name(rule.hook))")
    }
    return (lines + ["COMMIT", ""]).joined(separator: "\n")
  }

  /// Deletes our rules; our chains and the jumps to them stay.
  static func empty(table: String) async throws(RuleError) {
    try await change(table) { saved, chains, family in
      saved.ours(chains, family).map(\.deletion) + saved.removal(ofPrograms: chains)
    }
  }

  /// Deletes our rules, and our chains with the jumps to them where nothing of others is left.
  static func remove(table: String) async throws(RuleError) {
    try await change(table) { saved, chains, family in
      let removable = saved.removable(chains, family)
      let jumps = removable.filter { saved.jumps(from: $0.hook, to: $0.chain) }
        .map { "-D \($0.hook.builtInChain) -j \($0.chain)" }
      return jumps + saved.ours(chains, family).map(\.deletion)
        + saved.removal(ofPrograms: chains) + removable.map { "-X \($0.chain)" }
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
    let left = await OurSets(chains).destroy { _ in true }
    guard left.isEmpty else {
      throw .programFailed(
        command: "ipset destroy", status: 1,
        message: "other rules ask \(left.joined(separator: ", ")): remove those rules")
    }
  }

  /// What our chains hold; nil if there is none.
  static func installed(table: String) async throws(RuleError) -> InstalledRules? {
    let chains = OurChains(table: table)
    var found = InstalledRules(backend: .iptables, table: table)
    var sets: Set<String> = []
    for family in Families.both.each where family.hasPrograms {
      let saved = try await chains.read(family)
      found.add(saved, family: family, chains: chains)
      found.filters.add(saved, family, chains, names: &sets)
    }
    guard !found.hooks.isEmpty else { return nil }
    found.filters.sets = try await OurSets(chains).read(sets.sorted())
    found.sort()
    return found
  }
}

extension PlannedRule {
  /// The rule as iptables-restore reads it.
  func iptables(in chain: String) -> String {
    let mark = passMark.map { ["-m", "mark", "!", "--mark", $0.description] } ?? []
    return (["-A", chain] + mark + iptablesQueue).joined(separator: " ")
  }

  /// The words that queue.
  var iptablesQueue: [String] {
    let numbers =
      queues.count == 1
      ? ["--queue-num", "\(queues.lowerBound)"]
      : ["--queue-balance", "\(queues.lowerBound):\(queues.upperBound)"]
    return ["-j", "NFQUEUE"] + numbers + (bypass ? ["--queue-bypass"] : [])
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
