// SPDX-License-Identifier: Apache-2.0

import CNFTables

/// The families of nf_tables in which we have a table.
enum TableKind: UInt8, CaseIterable {
  /// `NFPROTO_INET`.
  case inet = 1
  /// `NFPROTO_BRIDGE`.
  case bridge = 7

  /// The kind whose rules are for `families`.
  init(of families: Families) { self = families == .bridge ? .bridge : .inet }

  /// nft's word for it.
  var name: String { "\(self)" }
}

/// One of our nft tables as one look found it: what in it is ours, and what others have put there.
///
/// A chain is ours if it has the name, hook and priority that we would give it, a rule if it stands
/// in such a chain and says what ours say. Nothing else is ever changed or deleted.
struct OurTable {
  let kind: TableKind
  private(set) var exists = false
  /// All chains, ours or not.
  private(set) var chains: [NFChain] = []
  /// Our rules in base chains, as the kernel lists them.
  private(set) var ours: [NFRule] = []
  /// Our rules that queue, as they are and decoded.
  private(set) var queueing: [(rule: NFRule, decoded: InstalledRule)] = []
  /// The rules of programs' chains, which are replaced as a whole.
  private(set) var programRules: [NFRule] = []
  /// The sets and maps of programs.
  private(set) var maps: [String] = []
  /// Rules of others.
  private(set) var others: [NFRule] = []
  /// How many chains, sets, maps, objects and flow tables the kernel counts in it.
  private var uses: UInt32 = 0

  /// Our tables of all kinds, those that are not there too.
  static func all(_ table: String) throws(RuleError) -> [OurTable] {
    let dump = try NFTablesDump.read()
    var all: [OurTable] = []
    for kind in TableKind.allCases { all.append(try read(table, kind, dump)) }
    return all
  }

  private static func read(
    _ table: String, _ kind: TableKind, _ dump: NFTablesDump
  ) throws(RuleError) -> OurTable {
    var found = OurTable(kind: kind)
    if let uses = try NFTablesDump.uses(ofTable: table, kind) {
      found.exists = true
      found.uses = uses
    }
    found.chains = dump.chains.filter { $0.family == kind.rawValue && $0.table == table }
    guard found.exists else { return found }
    if !found.programChains.isEmpty { found.maps = try NFTablesDump.maps(of: table, kind) }
    let priorities = Dictionary(
      found.chains.compactMap { chain in chain.ourHook.map { ($0, chain.priority ?? 0) } }
    ) { first, _ in first }
    let programChains = Set(found.programChains.map(\.name))
    for rule in dump.rules where rule.family == kind.rawValue && rule.table == table {
      if programChains.contains(rule.chain) {
        found.programRules.append(rule)
        let hook = KernelLayout.parse(queueChain: rule.chain)?.hook
        if let priority = hook.flatMap({ priorities[$0] }),
          let decoded = InstalledRule(selected: rule, priority: priority)
        {
          found.queueing.append((rule, decoded))
        }
      } else if rule.entersProgram, dump.chain(of: rule)?.ourHook != nil {
        found.ours.append(rule)
      } else if let chain = dump.chain(of: rule), let hook = chain.ourHook,
        let priority = chain.priority,
        let decoded = InstalledRule(rule, hook: hook, priority: priority)
      {
        found.ours.append(rule)
        found.queueing.append((rule, decoded))
      } else {
        found.others.append(rule)
      }
    }
    return found
  }

  private init(kind: TableKind) { self.kind = kind }

  /// Our rules that queue, decoded.
  var decoded: [InstalledRule] { queueing.map(\.decoded) }

  /// One rule for each of `wanted` that is there already.
  func kept(
    of wanted: [PlannedRule], _ backend: RuleBackend
  ) -> [(rule: NFRule, decoded: InstalledRule)] {
    wanted.compactMap { planned in
      queueing.first { rule, decoded in
        guard !decoded.isSelective || programRules.count(where: { $0.chain == rule.chain }) == 1
        else { return false }
        let isTarget = rule.expressions.contains { $0.name == "target" }
        return decoded.planned == planned && isTarget == (planned.means(backend) == .nftCompat)
      }
    }
  }

  /// True if nothing of others is in it.
  var isOnlyOurs: Bool {
    others.isEmpty && chains.allSatisfy { $0.ourHook != nil || $0.isOfProgram }
      && uses == UInt32(chains.count + maps.count)
  }

  /// Rules of others in our base chains.
  var intruders: [NFRule] {
    let hooked = Set(chains.filter { $0.ourHook != nil }.map(\.name))
    return others.filter { hooked.contains($0.chain) }
  }

  /// The chains of our programs.
  var programChains: [NFChain] { chains.filter(\.isOfProgram) }

  /// Our base chains that hold no rule of others.
  var removableChains: [NFChain] {
    chains.filter { chain in
      chain.ourHook != nil && !others.contains { $0.chain == chain.name }
    }
  }
}

extension NFChain {
  /// The hook of a base chain as we make them; nil for any other chain.
  var ourHook: RuleHook? {
    guard type == "filter", let priority,
      let hook = hook.flatMap(UInt8.init(exactly:)).flatMap(RuleHook.init(rawValue:)),
      name == hook.chain(priority: priority)
    else { return nil }
    return hook
  }

  /// A chain of a program of ours, known by its name.
  var isOfProgram: Bool { hook == nil && name.hasPrefix(KernelProgram.prefix) }

  /// What kind of chain it is, for errors.
  var shape: String {
    guard let hook, let priority else { return "no hook" }
    return "type \(type ?? "unknown"), hook \(hook), priority \(priority)"
  }
}
