// SPDX-License-Identifier: Apache-2.0

/// Finds out which bits of packet marks this host's rules use.
///
/// It sees nft and iptables of both kinds, and routing rules. It cannot see marks used by tc
/// filters, IPsec policies, BPF programs, or sockets that set `SO_MARK`.
public enum MarkScan {
  /// All uses of packet and connection marks, other than by our own `table`.
  ///
  /// - Throws: What the kernel refused (nf_tables may only be listed with `CAP_NET_ADMIN`), or an
  ///   answer that was not understood: a scan never passes over a rule it could not read.
  public static func scan(
    excluding table: String = "callout"
  ) async throws(RuleError) -> [MarkUse] {
    var uses: [MarkUse] = []
    for rule in try NFTablesDump.read().rules where !rule.isOurs(table) {
      uses += MarkWalk.uses(in: rule)
    }
    for rule in try await LegacyTables.rules() where !rule.rule.isOurs(table) {
      uses += rule.rule.markUses.map {
        MarkUse(
          mask: $0.mask, subject: $0.subject, origin: .iptablesLegacy, rule: rule.place)
      }
    }
    return uses + (try RoutingRules.markUses())
  }

  /// Settings that put one packet's mark on others, as sentences; none if there are none.
  public static func notes() throws(RuleError) -> [String] {
    var notes: [String] = []
    let settings = [
      ("ipv4/fwmark_reflect", "replies of the kernel carry the mark of the packet they answer"),
      ("ipv6/fwmark_reflect", "replies of the kernel carry the mark of the packet they answer"),
      ("ipv4/tcp_fwmark_accept", "accepted TCP connections send with the mark of their SYN"),
    ]
    for (name, effect) in settings {
      let value = try RuleError.text(of: "/proc/sys/net/\(name)")?.trimmed
      guard let value, value != "0" else { continue }
      let sysctl = name.split(separator: "/").joined(separator: ".")
      notes.append("net.\(sysctl) is \(value): \(effect), so handles may come back")
    }
    return notes
  }

  /// The packet uses that share bits with `mask`.
  public static func conflicts(of mask: UInt32, in uses: [MarkUse]) -> [MarkUse] {
    uses.filter { $0.subject == .packet && $0.mask & mask != 0 }
  }

  /// Throws ``RuleError/conflicts(mask:uses:)`` if any packet use shares bits with `mask`.
  public static func checkConflicts(of mask: UInt32, in uses: [MarkUse]) throws(RuleError) {
    let found = conflicts(of: mask, in: uses)
    guard found.isEmpty else { throw .conflicts(mask: mask, uses: found) }
  }
}

extension NFRule {
  /// True for rules of ours in our nft table, and in our chains of iptables' nft front end.
  func isOurs(_ table: String) -> Bool {
    if TableKind(rawValue: family) != nil, self.table == table {
      return InstalledRule(self, hook: .output, priority: 0) != nil || entersProgram
        || chain.hasPrefix(KernelProgram.prefix)
    }
    // By its chain alone: iptables says some matches in nft's own way.
    return [2, 10].contains(family) && self.table == "mangle"
      && OurChains(table: table).owns(chain)
  }
}

extension SavedRule {
  /// True for rules in our iptables chains.
  func isOurs(_ table: String) -> Bool {
    self.table == "mangle" && OurChains(table: table).owns(chain)
  }
}
