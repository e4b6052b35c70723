// SPDX-License-Identifier: Apache-2.0

/// The rules of legacy iptables, which nf_tables does not list.
enum LegacyTables {
  /// A rule and which command shows it.
  struct Found {
    var rule: SavedRule
    var family: Families
    /// The command that shows it and the rule as text.
    var place: String { "\(family.command("tables-legacy")) -t \(rule.table) \(rule.text)" }
  }

  /// All of them; empty where no legacy table is in use, without running anything.
  static func rules() async throws(RuleError) -> [Found] {
    var found: [Found] = []
    for family in Families.both.each {
      let path = "/proc/self/net/\(family.command("_tables_names"))"
      // The file lists only tables that somebody has asked for: asking for them would make them.
      guard let names = try RuleError.text(of: path), !names.trimmed.isEmpty else { continue }
      let program = family.command("tables-legacy-save")
      let text = try await Program.run(program, [])
      found += try SavedRule.parse(text, from: program).rules.map {
        Found(rule: $0, family: family)
      }
    }
    return found
  }
}
