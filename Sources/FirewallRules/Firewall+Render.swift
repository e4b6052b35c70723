// SPDX-License-Identifier: Apache-2.0

extension Firewall {
  /// The rules as text that people can read and load: nft syntax, or iptables-restore input.
  public static func render(_ ruleSet: RuleSet, backend: RuleBackend) -> String {
    switch backend {
    case .nft: nftText(ruleSet)
    case .nftCompat:
      """
      # This kernel lacks the queue statement: calloutd installs the same rules with the xtables
      # target NFQUEUE, which has no nft syntax. This text loads only where nft_queue is there.
      \(bridgeRemark(ruleSet, "xtables", "the bridge table below cannot be on this kernel"))
      """ + nftText(ruleSet)
    case .iptables: iptablesText(ruleSet)
    }
  }

  private static func nftText(_ ruleSet: RuleSet) -> String {
    TableKind.allCases.map { nftText(ruleSet, $0) }.joined()
  }

  private static func nftText(_ ruleSet: RuleSet, _ kind: TableKind) -> String {
    let rules = ruleSet.planned(in: kind)
    guard kind == .inet || !rules.isEmpty else { return "" }
    let table = "table \(kind.name) \(ruleSet.table)"
    let layouts = kind == .inet ? ruleSet.layouts(nil) : []
    var lines = ["\(table) {}", "flush \(table)"]
    // What is there already of the maps' elements goes too.
    let declarations = layouts.flatMap(\.nftDeclarations)
    if !declarations.isEmpty { lines += ["\(table) {"] + declarations + ["}"] }
    for map in layouts.flatMap(\.maps) {
      let word = map.isVerdictMap ? "map" : "set"
      lines.append("flush \(word) \(kind.name) \(ruleSet.table) \(map.name)")
    }
    lines.append("\(table) {")
    for layout in layouts {
      let rule = rules.first { KernelProgram.entry($0.hook, $0.family) == layout.entry }
      lines += layout.nftLines(queueText: rule?.queueText ?? "counter")
    }
    for hook in Set(rules.map(\.hook)).sorted() {
      let chain = hook.chain(priority: ruleSet.priority)
      lines.append("  chain \(chain) {")
      lines.append(
        "    type filter hook \(hook.name) priority \(ruleSet.priority); policy accept;")
      for rule in rules where rule.hook == hook { lines.append("    \(rule.nftText)") }
      lines.append("  }")
    }
    return (lines + ["}", ""]).joined(separator: "\n")
  }

  private static func iptablesText(_ ruleSet: RuleSet) -> String {
    var ruleSet = ruleSet
    var remark = bridgeRemark(ruleSet, "iptables", "what is below brings none")
    var programs: [IPTablesProgram] = []
    do throws(RuleError) {
      programs = try ruleSet.iptablesPrograms()
    } catch {
      remark += "# Every packet is queued: \(error).\n"
      ruleSet.programs = []
    }
    let sets = OurSets(OurChains(table: ruleSet.table))
    let members = programs.flatMap(\.sets)
    var parts = members.isEmpty ? [] : ["# ipset restore -exist\n" + sets.text(members, .a)]
    for family in Families.both.each
    where ruleSet.hooks.values.contains(where: { $0.contains(family) }) {
      let text = IPTablesBackend.restoreText(
        ruleSet, family: family, saved: SavedRules(), programs: programs, sets: .a)
      parts.append("# \(family.command("tables-restore")) --noflush\n\(text)")
    }
    return """
      \(remark)# Rules after ours in the same built-in chain never see queued or bypassed packets.

      """ + parts.joined(separator: "\n")
  }
}

extension Firewall {
  /// A line that says why frames of bridges are missing; empty where none are asked for.
  private static func bridgeRemark(_ ruleSet: RuleSet, _ means: String, _ effect: String) -> String
  {
    ruleSet.planned(in: .bridge).isEmpty
      ? "" : "# The frames of bridges cannot be queued by \(means): \(effect).\n"
  }
}

extension PlannedRule {
  /// The rule in nft's syntax.
  fileprivate var nftText: String {
    var words = family == .bridge ? [] : ["meta nfproto \(family)"]
    if let passMark {
      words.append("meta mark & \(hexadecimal(passMark.mask)) != \(hexadecimal(passMark.value))")
    }
    guard !isSelective else {
      return (words + ["goto \(KernelProgram.entry(hook, family))"]).joined(separator: " ")
    }
    return (words + [queueText]).joined(separator: " ")
  }

  /// What counts and queues.
  fileprivate var queueText: String {
    let numbers = queues.count == 1 ? "\(queues.lowerBound)" : queues.dashed
    return "counter " + (bypass ? "queue flags bypass to \(numbers)" : "queue to \(numbers)")
  }
}
