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

  /// Replaces our rules by those of `ruleSet`, all at once; counters begin at 0 again.
  ///
  /// Chains that exist are kept, those of hooks no longer wanted are emptied: no base chain is ever
  /// unhooked, so no packet that waits in any queue is lost. For iptables the replacement is at once
  /// for each family.
  ///
  /// - Throws: ``RuleError/invalidRuleSet(_:)``, ``RuleError/leftoverChain(table:chain:found:)``,
  ///   or what the kernel or iptables refused; then nothing has changed (iptables: the IPv4 rules may
  ///   have).
  public func apply(_ ruleSet: RuleSet) async throws(RuleError) {
    guard ruleSet.table == table else {
      throw .invalidRuleSet("rules for table \(ruleSet.table) given to the one of \(table)")
    }
    switch backend {
    case .nft, .nftCompat: try NFTablesBackend.apply(ruleSet, with: backend)
    case .iptables: try await IPTablesBackend.apply(ruleSet)
    }
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
    let nothing = InstalledRules(backend: backend, table: table)
    return (try await installed() ?? nothing).differences(from: ruleSet)
  }
}
