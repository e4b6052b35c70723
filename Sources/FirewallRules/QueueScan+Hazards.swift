// SPDX-License-Identifier: Apache-2.0

import Kernel
import CNFTables

extension QueueScan {
  /// What on this host would spoil `ruleSet`, as sentences; none if nothing is known to.
  ///
  /// It looks for packet copies that come by the output hook again and again without end, for queues of ours that somebody else has bound or names in
  /// rules, and for what the iptables back end cannot do.
  public static func hazards(
    for ruleSet: RuleSet, backend: RuleBackend
  ) async throws(RuleError) -> [String] {
    let dump = try NFTablesDump.read()
    let legacy = try await LegacyTables.rules().filter { !$0.rule.isOurs(ruleSet.table) }
    var hazards: [String] = []
    if ruleSet.planned(in: .inet).contains(where: { $0.hook == .output }) {
      hazards += (dump.copies(at: .output) + LegacyTables.copies(legacy, at: .output)).map {
        "\($0) copies packets at output, where they are queued too: every copy would be copied "
          + "again without end; put it at prerouting or leave output out"
      }
      hazards += (dump.copies(at: .prerouting) + LegacyTables.copies(legacy, at: .prerouting)).map {
        "\($0) copies packets at prerouting: where a callout at output changes the mark of the copy "
          + "of a packet for this host, the kernel routes it back here, to be copied again; copy "
          + "forwarded packets only or leave output out"
      }
    }
    for status in try bound() where ruleSet.queues.contains(status.number) {
      let owner = status.ownerName ?? "port \(status.portID)"
      hazards.append("queue \(status.number) is already bound by \(owner)")
    }
    for use in try await named(excluding: ruleSet.table) {
      guard let queues = use.queues, queues.overlaps(ruleSet.queues) else { continue }
      hazards.append("\(use.origin) rule \(use.rule) also names queue \(queues.dashed)")
    }
    if backend == .iptables {
      hazards.append(
        "rules after ours in the same chain of the mangle tables never see queued or bypassed "
          + "packets")
    }
    return hazards
  }
}

extension NFTablesDump {
  /// The rules that copy packets in chains that a hook reaches, by their place.
  func copies(at hook: RuleHook) -> [String] {
    let copying = rules.filter { rule in
      rule.expressions.contains { expression in
        expression.name == "dup"
          || (expression.name == "target" && expression.extended?.name == "TEE")
      }
    }
    return copying.filter { rule in
      reachedChains(from: hook, of: rule.family, table: rule.table).contains(rule.chain)
    }.map { "\($0.origin) rule \($0.place)" }
  }

  /// The chains of a table that packets at a hook can get to.
  private func reachedChains(
    from hook: RuleHook, of family: UInt8, table: String
  ) -> Set<String> {
    guard [1, 2, 10].contains(family) else { return [] }
    let inTable = chains.filter { $0.family == family && $0.table == table }
    let itsRules = rules.filter { $0.family == family && $0.table == table }
    var reached = Set(
      inTable.filter { $0.hook == UInt32(hook.rawValue) }.map(\.name))
    var open = Array(reached)
    while let chain = open.popLast() {
      for expression in itsRules.filter({ $0.chain == chain }).flatMap(\.expressions) {
        var targets: [String] = []
        if let jump = expression.jump(NFTA_IMMEDIATE_DATA.rawValue),
          expression.name == "immediate"
        {
          targets = [jump]
        } else if expression.name == "lookup",
          expression.number(NFTA_LOOKUP_DREG.rawValue) == NFT_REG_VERDICT.rawValue
        {
          // A verdict map: it may lead to any chain without a hook.
          targets = inTable.filter { $0.hook == nil }.map(\.name)
        }
        for target in targets where reached.insert(target).inserted { open.append(target) }
      }
    }
    return reached
  }
}

extension LegacyTables {
  /// The TEE rules in chains that a hook's built-in chain reaches.
  static func copies(_ found: [Found], at hook: RuleHook) -> [String] {
    let builtIn = hook.name.uppercased()
    return found.filter { candidate in
      guard candidate.rule.target == "TEE" else { return false }
      let table = found.filter {
        $0.family == candidate.family && $0.rule.table == candidate.rule.table
      }.map(\.rule)
      var reached: Set = [builtIn]
      var open = [builtIn]
      while let chain = open.popLast() {
        for rule in table where rule.chain == chain {
          if let target = rule.target, reached.insert(target).inserted { open.append(target) }
        }
      }
      return reached.contains(candidate.rule.chain)
    }.map { "iptables-legacy rule \($0.place)" }
  }
}
