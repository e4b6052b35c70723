// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Our rules in nft tables of our own, one for IP packets and one for the frames of bridges.
///
/// What never happens here: the removal of a base chain other than by ``remove(table:)``. The kernel
/// drops every packet waiting in any queue of the network namespace when a base chain is unhooked,
/// and *also when a failed transaction had added one* (tried on 6.18). So every update is rehearsed
/// with chains that have no hook before it is made.
enum NFTablesBackend {
  /// Replaces our rules by those of `ruleSet`, in one transaction; rules of others stay.
  ///
  /// A rule that queues and is wanted as it is stays where it is and counts on, so that no packet is
  /// missed by the count. Returns what the others had counted, in packets.
  static func apply(_ ruleSet: RuleSet, with backend: RuleBackend) throws(RuleError) -> UInt64 {
    try ruleSet.validate()
    try rehearse(ruleSet, with: backend)
    var counted: UInt64 = 0
    try change("apply table \(ruleSet.table)") { () throws(RuleError) in
      let all = try OurTable.all(ruleSet.table)
      counted = 0
      var transaction = NFTransaction()
      for held in all {
        // Who wants no frames gets no table for them.
        guard held.kind == .inet || held.exists || !ruleSet.planned(in: held.kind).isEmpty else {
          continue
        }
        transaction.kind = held.kind
        let kept = held.kept(of: ruleSet.planned(in: held.kind), backend)
        let gone = held.decoded.reduce(0) { $0 &+ $1.packets }
        counted &+= gone &- kept.reduce(0) { $0 &+ $1.decoded.packets }
        try replace(held, by: ruleSet, with: backend, keeping: kept, in: &transaction)
      }
      return transaction
    }
    return counted
  }

  private static func replace(
    _ held: OurTable, by ruleSet: RuleSet, with backend: RuleBackend,
    keeping kept: [(rule: NFRule, decoded: InstalledRule)], in transaction: inout NFTransaction
  ) throws(RuleError) {
    let wanted = ruleSet.planned(in: held.kind)
    let handles = Set(kept.map(\.rule.handle))
    transaction.addTable(ruleSet.table)
    for rule in held.ours where !handles.contains(rule.handle) { transaction.deleteRule(rule) }
    let keptChains = Set(kept.filter(\.decoded.isSelective).map(\.rule.chain))
    clearPrograms(held, ruleSet.table, keeping: keptChains, &transaction)
    for hook in Set(wanted.map(\.hook)).sorted() {
      let name = hook.chain(priority: ruleSet.priority)
      if let chain = held.chains.first(where: { $0.name == name }) {
        guard chain.ourHook == hook, chain.priority == ruleSet.priority else {
          throw .leftoverChain(table: ruleSet.table, chain: name, found: chain.shape)
        }
      } else {
        transaction.addChain(name, in: ruleSet.table, hook: (hook, ruleSet.priority))
      }
    }
    let layouts = held.kind == .inet ? ruleSet.layouts(backend) : []
    add(layouts, keeping: keptChains, in: ruleSet.table, &transaction)
    for rule in wanted
    where rule.isSelective || !kept.contains(where: { $0.decoded.planned == rule }) {
      transaction.addRule(
        rule.steps(backend), to: rule.hook.chain(priority: rule.priority), in: ruleSet.table)
    }
  }

  /// Takes the chains and maps of all programs away; rules that lead to them must be gone.
  private static func clearPrograms(
    _ held: OurTable, _ table: String, keeping kept: Set<String> = [],
    _ transaction: inout NFTransaction
  ) {
    let chains = held.programChains.map(\.name).filter { !kept.contains($0) }
    for chain in chains { transaction.flushChain(chain, in: table) }
    for map in held.maps { transaction.deleteMap(map, in: table) }
    for chain in chains { transaction.deleteChain(chain, in: table) }
  }

  private static func add(
    _ layouts: [KernelLayout], keeping kept: Set<String> = [], in table: String,
    _ transaction: inout NFTransaction
  ) {
    let chains = layouts.flatMap(\.chains).filter { !kept.contains($0.name) }
    for chain in chains { transaction.addChain(chain.name, in: table) }
    for map in layouts.flatMap(\.maps) { transaction.addMap(map, in: table) }
    for chain in chains {
      for rule in chain.rules { transaction.addRule(rule, to: chain.name, in: table) }
    }
  }

  /// Lets the kernel check the rules of `ruleSet` and take them back; nothing is left or hooked.
  static func rehearse(_ ruleSet: RuleSet, with backend: RuleBackend) throws(RuleError) {
    let packets = ruleSet.planned(in: .inet)
    do throws(RuleError) {
      try rehearse(packets, with: backend, NFTransaction(), ruleSet.layouts(backend))
    } catch {
      guard backend == .nftCompat, error.meansUnsupported else { throw error }
      // The kernel loads the module of an xtables target for a family that xtables has, not inet.
      try? rehearse(packets, with: backend, NFTransaction(foreignFamily: 2 /* NFPROTO_IPV4 */))
      try rehearse(packets, with: backend, NFTransaction(), ruleSet.layouts(backend))
    }
    let frames = ruleSet.planned(in: .bridge)
    guard !frames.isEmpty else { return }
    do throws(RuleError) {
      try rehearse(frames, with: backend, NFTransaction(.bridge))
    } catch {
      guard error.meansUnsupported else { throw error }
      throw .noBridgeQueue(reason: "\(error)")
    }
  }

  private static func rehearse(
    _ rules: [PlannedRule], with backend: RuleBackend, _ empty: NFTransaction,
    _ layouts: [KernelLayout] = []
  ) throws(RuleError) {
    let table = "callout_rehearsal_\(getpid())"
    var transaction = empty
    transaction.addTable(table)
    transaction.addChain("rules", in: table)
    add(layouts, in: table, &transaction)
    for rule in rules where !rule.isSelective || !layouts.isEmpty {
      transaction.addRule(rule.steps(backend), to: "rules", in: table)
    }
    // There is no such chain: the transaction must fail, by this alone.
    transaction.deleteChain("rehearsal_only", in: table)
    let last = transaction.operations.count - 1
    let refusals = try transaction.submit("check rules with \(backend.rawValue)")
    if let first = refusals.filter({ $0.key != last }).min(by: { $0.key < $1.key }) {
      let what = first.key < 2 ? "nf_tables" : "rules with \(backend.rawValue)"
      throw .refused(
        operation: "check \(what)", errno: first.value.errno, message: first.value.message)
    }
    guard refusals[last] != nil else {
      throw .malformedAnswer(from: "nf_tables", detail: "a rehearsal was not refused")
    }
  }

  /// Deletes our rules; our chains stay hooked, and rules of others stay in them.
  static func empty(table: String) throws(RuleError) {
    try change("empty table \(table)") { () throws(RuleError) in
      var transaction = NFTransaction()
      for held in try OurTable.all(table) {
        transaction.kind = held.kind
        for rule in held.ours { transaction.deleteRule(rule) }
        clearPrograms(held, table, &transaction)
      }
      return transaction
    }
  }

  /// Deletes our rules and chains, which unhooks these, and our tables unless others use them too.
  static func remove(table: String) throws(RuleError) {
    try change("remove table \(table)") { () throws(RuleError) in
      var transaction = NFTransaction()
      for held in try OurTable.all(table) where held.exists {
        transaction.kind = held.kind
        if held.isOnlyOurs {
          transaction.deleteTable(table)
          continue
        }
        for rule in held.ours { transaction.deleteRule(rule) }
        clearPrograms(held, table, &transaction)
        for chain in held.removableChains { transaction.deleteChain(chain.name, in: table) }
      }
      return transaction
    }
  }

  /// What our tables hold; nil if they have no chain at all.
  static func installed(table: String) throws(RuleError) -> InstalledRules? {
    let all = try OurTable.all(table)
    guard all.contains(where: { !$0.chains.isEmpty }) else { return nil }
    var found = InstalledRules(backend: .nft, table: table)
    found.hooks = Set(all.flatMap(\.chains).compactMap(\.ourHook))
    found.rules = all.flatMap(\.decoded)
    found.unrecognized = all.flatMap(\.others).map(\.place)
    found.intruders = all.flatMap(\.intruders).map(\.place)
    for held in all {
      for chain in held.programChains {
        found.programChains[chain.name] = held.programRules.count { $0.chain == chain.name }
      }
      for map in held.maps { found.maps.append(try InstalledMap.read(map, in: table)) }
    }
    if all.flatMap({ $0.ours + $0.programRules }).contains(where: {
      $0.expressions.contains { $0.name == "target" }
    }) {
      found.backend = .nftCompat
    }
    found.sort()
    return found
  }

  /// Commits what `transaction` makes of a fresh look, again if somebody has changed the table since.
  private static func change(
    _ what: String, _ transaction: () throws(RuleError) -> NFTransaction
  ) throws(RuleError) {
    for attempt in 1...5 {
      let next = try transaction()
      guard !next.operations.isEmpty else { return }
      do throws(RuleError) {
        return try next.commit(what)
      } catch {
        guard case .refused(_, ENOENT, _) = error, attempt < 5 else { throw error }
      }
    }
  }
}

extension RuleHook {
  /// The name of our chain; one of another priority gets another name, so none is ever unhooked.
  func chain(priority: Int32) -> String {
    guard priority != RuleSet.manglePriority else { return name }
    return priority < 0 ? "\(name)_m\(priority.magnitude)" : "\(name)_p\(priority)"
  }
}

extension PlannedRule {
  /// The rule of the base chain as nf_tables expressions.
  func steps(_ backend: RuleBackend) -> [NFTransaction.Step] {
    var steps: [NFTransaction.Step] = family == .bridge ? [] : [.matchFamily(family)]
    if let passMark { steps.append(.unlessMark(passMark)) }
    guard !isSelective else {
      return steps + [.verdict(.goto(KernelProgram.entry(hook, family)))]
    }
    return steps + queueSteps(backend)
  }

  /// How it queues by a back end: frames have the statement alone.
  func means(_ backend: RuleBackend) -> RuleBackend { family == .bridge ? .nft : backend }

  /// Counts and queues.
  func queueSteps(_ backend: RuleBackend) -> [NFTransaction.Step] {
    [
      .counter,
      means(backend) == .nft
        ? .queue(queues, bypass: bypass) : .queueTarget(queues, bypass: bypass),
    ]
  }
}
