// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Our rules in an nft table of our own.
///
/// What never happens here: the removal of a base chain other than by ``remove(table:)``. The kernel
/// drops every packet waiting in any queue of the network namespace when a base chain is unhooked,
/// and *also when a failed transaction had added one* (tried on 6.18). So every update is rehearsed
/// with chains that have no hook before it is made.
enum NFTablesBackend {
  /// Replaces our rules by those of `ruleSet`, in one transaction; rules of others stay.
  ///
  /// Returns what the replaced rules had counted, in packets.
  static func apply(_ ruleSet: RuleSet, with backend: RuleBackend) throws(RuleError) -> UInt64 {
    try ruleSet.validate()
    try rehearse(ruleSet, with: backend)
    var counted: UInt64 = 0
    try change("apply table \(ruleSet.table)") { () throws(RuleError) in
      let held = try OurTable.read(ruleSet.table)
      counted = held.decoded.reduce(0) { $0 &+ $1.packets }
      var transaction = NFTransaction()
      transaction.addTable(ruleSet.table)
      for rule in held.ours { transaction.deleteRule(rule) }
      for hook in ruleSet.hooks.keys.sorted() {
        let name = hook.chain(priority: ruleSet.priority)
        if let chain = held.chains.first(where: { $0.name == name }) {
          guard chain.ourHook == hook, chain.priority == ruleSet.priority else {
            throw .leftoverChain(table: ruleSet.table, chain: name, found: chain.shape)
          }
        } else {
          transaction.addChain(name, in: ruleSet.table, hook: (hook, ruleSet.priority))
        }
      }
      for rule in ruleSet.planned {
        transaction.addRule(
          rule.steps(backend), to: rule.hook.chain(priority: rule.priority), in: ruleSet.table)
      }
      return transaction
    }
    return counted
  }

  /// Lets the kernel check the rules of `ruleSet` and take them back; nothing is left or hooked.
  static func rehearse(_ ruleSet: RuleSet, with backend: RuleBackend) throws(RuleError) {
    do throws(RuleError) {
      try rehearse(ruleSet, with: backend, family: family)
    } catch {
      guard backend == .nftCompat, error.meansUnsupported else { throw error }
      // The kernel loads the module of an xtables target for a family that xtables has, not inet.
      try? rehearse(ruleSet, with: backend, family: 2 /* NFPROTO_IPV4 */)
      try rehearse(ruleSet, with: backend, family: family)
    }
  }

  private static func rehearse(
    _ ruleSet: RuleSet, with backend: RuleBackend, family: UInt8
  ) throws(RuleError) {
    let table = "callout_rehearsal_\(getpid())"
    var transaction = NFTransaction(family: family)
    transaction.addTable(table)
    transaction.addChain("rules", in: table)
    for rule in ruleSet.planned { transaction.addRule(rule.steps(backend), to: "rules", in: table) }
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
      for rule in try OurTable.read(table).ours { transaction.deleteRule(rule) }
      return transaction
    }
  }

  /// Deletes our rules and chains, which unhooks these, and our table unless others use it too.
  static func remove(table: String) throws(RuleError) {
    try change("remove table \(table)") { () throws(RuleError) in
      let held = try OurTable.read(table)
      var transaction = NFTransaction()
      guard held.exists else { return transaction }
      if held.isOnlyOurs {
        transaction.deleteTable(table)
        return transaction
      }
      for rule in held.ours { transaction.deleteRule(rule) }
      for chain in held.removableChains { transaction.deleteChain(chain.name, in: table) }
      return transaction
    }
  }

  /// What our table holds; nil if it has no chain at all.
  static func installed(table: String) throws(RuleError) -> InstalledRules? {
    let held = try OurTable.read(table)
    guard !held.chains.isEmpty else { return nil }
    var found = InstalledRules(backend: .nft, table: table)
    found.hooks = Set(held.chains.compactMap(\.ourHook))
    found.rules = held.decoded
    found.unrecognized = held.others.map(\.place)
    if held.ours.contains(where: { $0.expressions.contains { $0.name == "target" } }) {
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

  /// `NFPROTO_INET`, the family of our table.
  static let family: UInt8 = 1
}

extension RuleHook {
  /// The name of our chain; one of another priority gets another name, so none is ever unhooked.
  func chain(priority: Int32) -> String {
    guard priority != RuleSet.manglePriority else { return name }
    return priority < 0 ? "\(name)_m\(priority.magnitude)" : "\(name)_p\(priority)"
  }
}

extension PlannedRule {
  /// The rule as nf_tables expressions.
  func steps(_ backend: RuleBackend) -> [NFTransaction.Step] {
    var steps: [NFTransaction.Step] = [.matchFamily(family)]
    if let passMark { steps.append(.unlessMark(passMark)) }
    steps.append(.counter)
    steps.append(
      backend == .nft
        ? .queue(queues, bypass: bypass) : .queueTarget(queues, bypass: bypass))
    return steps
  }
}
