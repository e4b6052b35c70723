// SPDX-License-Identifier: Apache-2.0

/// One rule of ours as the kernel holds it.
public struct InstalledRule: Sendable, Equatable {
  /// The hook it stands at.
  public var hook: RuleHook
  /// The priority of its chain.
  public var priority: Int32
  /// The one family it is for.
  public var family: Families
  /// The queues it hands packets to.
  public var queues: ClosedRange<UInt16>
  /// True if packets go on when nobody listens.
  public var bypass: Bool
  /// The mark that makes packets skip it.
  public var passMark: MarkMatch?
  /// Packets it has handed over or let pass for want of a listener, since it was installed.
  public var packets: UInt64
  /// Their bytes, IP headers included.
  public var bytes: UInt64
  /// Only what the kernel's filters select is queued.
  public var isSelective = false

  /// The rule without its counters.
  var planned: PlannedRule {
    PlannedRule(
      hook: hook, priority: priority, family: family, queues: queues, bypass: bypass,
      passMark: passMark, isSelective: isSelective)
  }
}

/// What one rule of ours has counted since it was installed.
public struct RuleCounter: Sendable, Equatable {
  /// The one family that was counted.
  public var family: Families
  /// Packets that met the queue statement.
  public var packets: UInt64
  /// Their bytes, IP headers included.
  public var bytes: UInt64
}

/// The rules of ours that the kernel holds.
public struct InstalledRules: Sendable, Equatable {
  /// How they reach the queue.
  ///
  /// An empty nft table reads as ``RuleBackend/nft``.
  public var backend: RuleBackend
  /// The table's name.
  public var table: String
  /// The hooks that have a chain of ours, be it empty.
  public var hooks: Set<RuleHook> = []
  /// The rules, by hook and family.
  public var rules: [InstalledRule] = []
  /// Rules in our table or chains that we did not make, by their place or text; they are left alone.
  public var unrecognized: [String] = []
  /// Those of them that stand in chains of ours, where packets may meet them before our rules.
  public var intruders: [String] = []
  /// How many rules each chain of a program has.
  var programChains: [String: Int] = [:]
  /// The sets and maps of programs.
  var maps: [InstalledMap] = []
  /// The same of iptables and ipset.
  var filters = InstalledFilters()

  /// The counters of all rules.
  public var counters: [RuleHook: [RuleCounter]] {
    Dictionary(grouping: rules, by: \.hook).mapValues { rules in
      rules.map { RuleCounter(family: $0.family, packets: $0.packets, bytes: $0.bytes) }
    }
  }

  /// What applying `ruleSet` would change: lines that begin with `- ` or `+ `; none if nothing.
  public func differences(from ruleSet: RuleSet) -> [String] {
    let wanted = ruleSet.planned
    let held = rules.map(\.planned)
    return held.filter { !wanted.contains($0) }.map { "- \($0)" }
      + wanted.filter { !held.contains($0) }.map { "+ \($0)" }
      + programDifferences(from: ruleSet)
  }

  /// Puts the rules in the order of ``RuleSet/planned``.
  mutating func sort() {
    rules.sort { ($0.hook.rawValue, $0.family.rawValue) < ($1.hook.rawValue, $1.family.rawValue) }
  }
}

extension InstalledRules {
  /// What a handle finds where nothing is installed.
  public init(noneOf firewall: Firewall) {
    self.init(backend: firewall.backend, table: firewall.table)
  }
}
