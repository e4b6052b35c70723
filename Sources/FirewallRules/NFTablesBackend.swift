// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Our rules in an nft table of our own.
///
/// What never happens here: the removal of a base chain other than by ``remove(table:)``. The kernel
/// drops every packet waiting in any queue of the network namespace when a base chain is unhooked,
/// and *also when a failed transaction had added one* (tried on 6.18). So every update is rehearsed
/// with chains that have no hook before it is made.
enum NFTablesBackend {
  /// Replaces the rules of our table by those of `ruleSet`, in one transaction.
  static func apply(_ ruleSet: RuleSet, with backend: RuleBackend) throws(RuleError) {
    try ruleSet.validate()
    try rehearse(ruleSet, with: backend)
    let present = try NFTablesDump.read().chains.filter { $0.isOurs(ruleSet.table) }
    var transaction = NFTransaction()
    transaction.addTable(ruleSet.table)
    transaction.flushTable(ruleSet.table)
    for hook in ruleSet.hooks.keys.sorted() {
      let name = hook.chain(priority: ruleSet.priority)
      if let chain = present.first(where: { $0.name == name }) {
        guard chain.hook == UInt32(hook.rawValue), chain.priority == ruleSet.priority,
          chain.type == "filter"
        else {
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
    try transaction.commit("apply table \(ruleSet.table)")
  }

  /// Lets the kernel check the rules of `ruleSet` and take them back; nothing is left or hooked.
  static func rehearse(_ ruleSet: RuleSet, with backend: RuleBackend) throws(RuleError) {
    let table = "callout_rehearsal_\(getpid())"
    var transaction = NFTransaction()
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

  /// Deletes all rules of our table; the chains stay hooked.
  ///
  /// Nothing happens without the table.
  static func empty(table: String) throws(RuleError) {
    var transaction = NFTransaction()
    transaction.flushTable(table)
    let refusals = try transaction.submit("empty table \(table)")
    guard let refusal = refusals[0], refusal.errno != ENOENT else { return }
    throw .refused(
      operation: "empty table \(table)", errno: refusal.errno, message: refusal.message)
  }

  /// Deletes our table, which unhooks its chains.
  ///
  /// Nothing happens without the table.
  static func remove(table: String) throws(RuleError) {
    var transaction = NFTransaction()
    transaction.deleteTable(table)
    let refusals = try transaction.submit("remove table \(table)")
    guard let refusal = refusals[0], refusal.errno != ENOENT else { return }
    throw .refused(
      operation: "remove table \(table)", errno: refusal.errno, message: refusal.message)
  }

  /// What our table holds; nil if it has no chain at all.
  static func installed(table: String) throws(RuleError) -> InstalledRules? {
    let dump = try NFTablesDump.read()
    let chains = dump.chains.filter { $0.isOurs(table) }
    guard !chains.isEmpty else { return nil }
    var found = InstalledRules(backend: .nft, table: table)
    found.hooks = Set(chains.compactMap(\.ourHook))
    for rule in dump.rules where rule.family == Self.family && rule.table == table {
      guard let chain = dump.chain(of: rule), let hook = chain.ourHook,
        let priority = chain.priority,
        let decoded = InstalledRule(rule, hook: hook, priority: priority)
      else {
        found.unrecognized.append(rule.place)
        continue
      }
      if rule.expressions.contains(where: { $0.name == "target" }) { found.backend = .nftCompat }
      found.rules.append(decoded)
    }
    found.sort()
    return found
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

extension NFChain {
  fileprivate func isOurs(_ table: String) -> Bool {
    family == NFTablesBackend.family && self.table == table
  }

  /// The hook, where this is a base chain of an inet table.
  fileprivate var ourHook: RuleHook? {
    hook.flatMap(UInt8.init(exactly:)).flatMap(RuleHook.init(rawValue:))
  }

  fileprivate var shape: String {
    guard let hook, let priority else { return "no hook" }
    return "type \(type ?? "unknown"), hook \(hook), priority \(priority)"
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
