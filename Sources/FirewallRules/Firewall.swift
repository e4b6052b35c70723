// SPDX-License-Identifier: Apache-2.0

import Kernel

/// Installs, reads back and removes the rules that hand packets to our queues.
///
/// All operations are of the network namespace of the calling process, and may be repeated: they
/// work over what an earlier, killed run has left.
public struct Firewall: Sendable {
  /// How rules are installed.
  public let backend: RuleBackend
  /// The name of our table, or in capitals the prefix of our iptables chains.
  public let table: String

  /// Makes a handle; nothing is installed.
  ///
  /// - Throws: ``RuleError/invalidRuleSet(_:)`` for a name no table can have.
  public init(backend: RuleBackend, table: String = "callout") throws(RuleError) {
    try RuleSet.validate(table: table)
    self.backend = backend
    self.table = table
  }

  /// Handles for every means by which a table's rules can have been installed on this host.
  ///
  /// - Throws: ``RuleError/invalidRuleSet(_:)`` for a name no table can have.
  public static func all(table: String) throws(RuleError) -> [Firewall] {
    // Both nft means use one kind of table, and what is not installed has installed nothing.
    var all = [try Firewall(backend: .nft, table: table)]
    if Program.path(of: "iptables-restore") != nil {
      all.append(try Firewall(backend: .iptables, table: table))
    }
    return all
  }

  /// Replaces our rules by those of `ruleSet`, all at once.
  ///
  /// Chains that exist are kept, those of hooks no longer wanted are emptied: no base chain is ever
  /// unhooked, so no packet that waits in any queue is lost. What others have put into our table
  /// stays. For nft a rule that stays as it is counts on, all others begin at 0. For iptables all
  /// begin at 0, and the replacement is at once for each family.
  ///
  /// - Returns: What the rules that went had counted, in packets.
  /// - Throws: ``RuleError/invalidRuleSet(_:)``, ``RuleError/tableInUse(table:queues:)``,
  ///   ``RuleError/leftoverChain(table:chain:found:)``, or what the kernel or iptables refused; then
  ///   nothing has changed. ``RuleError/notPutBack(cause:rules:)`` where iptables then refuses the
  ///   IPv4 rules that there were.
  @discardableResult
  public func apply(_ ruleSet: RuleSet) async throws(RuleError) -> UInt64 {
    guard ruleSet.table == table else {
      throw .invalidRuleSet("rules for table \(ruleSet.table) given to the one of \(table)")
    }
    try await checkUnused(besides: ruleSet.queues)
    switch backend {
    case .nft, .nftCompat: return try NFTablesBackend.apply(ruleSet, with: backend)
    case .iptables: return try await IPTablesBackend.apply(ruleSet)
    }
  }

  /// Throws ``RuleError/tableInUse(table:queues:)`` if rules in our table feed a program that is
  /// alive, through queues other than these.
  ///
  /// Rules of a killed run name queues that nobody has bound, or that the caller now has.
  public func checkUnused(besides queues: ClosedRange<UInt16>) async throws(RuleError) {
    guard let rules = try await installed()?.rules, !rules.isEmpty else { return }
    let live = try QueueScan.bound().filter { status in
      !queues.contains(status.number) && rules.contains { $0.queues.contains(status.number) }
    }
    guard live.isEmpty else { throw .tableInUse(table: table, queues: live) }
  }

  /// Deletes all our rules and leaves our chains hooked: packets pass, waiting ones stay.
  public func empty() async throws(RuleError) {
    switch backend {
    case .nft, .nftCompat: try NFTablesBackend.empty(table: table)
    case .iptables: try await IPTablesBackend.empty(table: table)
    }
  }

  /// Deletes our rules and chains.
  ///
  /// Unhooking an nft chain makes the kernel drop every packet that waits in *any* queue of this
  /// network namespace. Empty the rules first, or new packets may arrive in between.
  ///
  /// - Parameter force: Delete even while queues hold packets.
  /// - Throws: ``RuleError/queuesHoldPackets(_:)`` unless forced; nothing has changed then. With
  ///   iptables nothing is unhooked, so there it never throws that.
  public func remove(force: Bool = false) async throws(RuleError) {
    guard backend != .iptables else { return try await IPTablesBackend.remove(table: table) }
    guard try NFTablesBackend.installed(table: table) != nil else {
      return try NFTablesBackend.remove(table: table)  // without base chains nothing is flushed
    }
    let holding = try QueueScan.bound().filter { $0.waiting > 0 }
    guard force || holding.isEmpty else { throw .queuesHoldPackets(holding) }
    try NFTablesBackend.remove(table: table)
  }

  /// What each rule of ours has counted since it was installed, by hook; empty without rules.
  public func counters() async throws(RuleError) -> [RuleHook: [RuleCounter]] {
    try await installed()?.counters ?? [:]
  }

  /// The rules of ours that are there, or nil if there is not even an empty chain of ours.
  public func installed() async throws(RuleError) -> InstalledRules? {
    switch backend {
    case .nft, .nftCompat: try NFTablesBackend.installed(table: table)
    case .iptables: try await IPTablesBackend.installed(table: table)
    }
  }

  /// What applying `ruleSet` would change: lines that begin with `- ` or `+ `; none if nothing.
  public func diff(_ ruleSet: RuleSet) async throws(RuleError) -> [String] {
    (try await installed() ?? InstalledRules(noneOf: self)).differences(from: ruleSet)
  }
}
