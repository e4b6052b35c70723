// SPDX-License-Identifier: Apache-2.0

import Kernel

/// What the kernel decides by itself until the engine's own rules stand, in an nft table beside theirs.
///
/// ```
/// apply ─▶ in force ─disable▶ empty chains ─remove▶ nothing
/// ```
/// Nothing is queued: permitted packets meet the rules of others, blocked ones are dropped. A base chain
/// that goes empties every queue of the network namespace, so the engine only disables them.
///
/// Mirrors what `FWPM_FILTER_FLAG_BOOTTIME` asks for.
public struct BootRules: Sendable {
  /// The table's name.
  public let table: String

  /// The longest name of an engine's table that leaves room for ours.
  public static let longestTable = 11

  /// The boot-time rules that belong to an engine's table.
  ///
  /// - Throws: ``RuleError/invalidRuleSet(_:)`` for a name that has no such table.
  public init(besides table: String) throws(RuleError) {
    guard table.utf8.count <= Self.longestTable else {
      throw .invalidRuleSet(
        "table name \"\(table)\": at most \(Self.longestTable) characters where filters are boot-time"
      )
    }
    self.table = table + "_boot"
    try RuleSet.validate(table: self.table)
  }

  private func ruleSet(_ programs: [KernelProgram]) -> RuleSet {
    var hooks: [RuleHook: Families] = [:]
    for program in programs { hooks[program.hook, default: []].insert(program.family) }
    return RuleSet(table: table, queues: 0...0, hooks: hooks, bypass: true, programs: programs)
  }

  /// The rules in nft's syntax.
  public func text(_ programs: [KernelProgram]) -> String {
    Firewall.render(ruleSet(programs), backend: .nft)
  }

  /// Replaces the rules, all at once; without programs there are none.
  ///
  /// - Throws: ``RuleError/engineRuns(queues:)`` if somebody has bound one of the engine's queues, or what
  ///   the kernel refused; nothing has changed then.
  public func apply(
    _ programs: [KernelProgram], engineQueues: ClosedRange<UInt16>
  ) throws(RuleError) {
    let bound = try QueueScan.bound().filter { engineQueues.contains($0.number) }
    guard bound.isEmpty else { throw .engineRuns(queues: bound) }
    guard !programs.isEmpty else { return try disable() }
    _ = try NFTablesBackend.apply(ruleSet(programs), with: .nft)
  }

  /// Empties the chains, which stay hooked.
  public func disable() throws(RuleError) { try NFTablesBackend.empty(table: table) }

  /// Removes everything.
  ///
  /// - Throws: ``RuleError/queuesHoldPackets(_:)`` as ``Firewall/remove(force:)``.
  public func remove(force: Bool = false) async throws(RuleError) {
    try await Firewall(backend: .nft, table: table).remove(force: force)
  }
}
