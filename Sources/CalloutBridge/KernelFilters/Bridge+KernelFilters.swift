// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import FirewallRules
internal import PacketTagging
internal import Synchronization

extension Bridge {
  /// The rules of a policy; without the kernel's filters where this kernel does not take them.
  func ruleSet(
    for policy: FilterPolicy, _ firewall: Firewall, _ released: MarkMatch?
  ) async -> RuleSet {
    let mask = board.withLock { $0.field?.mask ?? 0 }
    var rules = configuration.ruleSet(for: policy, markMask: mask, released: released)
    guard !rules.programs.isEmpty else { return rules }
    do throws(RuleError) {
      try await firewall.backend.check(rules)
    } catch {
      if released != nil, rules.programs.contains(where: { $0.bypass != nil }) {
        let warning = "released flows are queued on: \(error)"
        if !board.withLock({ $0.warnings.contains(warning) }) { warn(warning) }
        return await ruleSet(for: policy, firewall, nil)
      }
      rules.programs = []
      let warning = "the kernel decides nothing by itself, every packet is queued: \(error)"
      if !board.withLock({ $0.warnings.contains(warning) }) { warn(warning) }
    }
    return rules
  }

  /// Brings the rules to what `policy` needs, also where somebody has flushed or changed them.
  ///
  /// With `number` as that of the policy, else the next one's.
  func replaceRules(
    for policy: FilterPolicy, number: UInt32? = nil
  ) async throws(BridgeError) {
    guard let firewall = board.withLock({ $0.firewall }) else { return }
    let number = number ?? board.withLock { $0.nextPolicyNumber }
    let rules = await ruleSet(for: policy, firewall, released(underPolicy: number))
    do {
      guard try await !firewall.diff(rules).isEmpty else {
        // The same maps, but the filters may have other numbers.
        return board.withLock { $0.rules = rules }
      }
      let hits = await decidedInKernel()
      let counted = try await firewall.apply(rules)
      board.withLock { board in
        board.earlierRulePackets &+= counted
        board.earlierKernelHits.merge(hits) { $0 &+ $1 }
        board.rules = rules
      }
    } catch {
      throw .rules(error)
    }
  }

  /// Ends what boot-time filters decide: from now on the policy does.
  func endBootTime() throws(BridgeError) {
    // A table of a longer name has no boot-time rules.
    guard let rules = try? BootRules(besides: configuration.ruleTable) else { return }
    do throws(RuleError) { try rules.disable() } catch { throw .rules(error) }
  }

  /// What filters have decided in the kernel by the counters of the rules in force.
  func decidedInKernel() async -> [Filter: UInt64] {
    let (firewall, rules, policy) = board.withLock { ($0.firewall, $0.rules, $0.policy?.policy) }
    guard let firewall, let rules, let policy, !rules.programs.isEmpty,
      let installed = try? await firewall.installed()
    else { return [:] }
    var decided: [Filter: UInt64] = [:]
    for (number, packets) in installed.hits(of: rules.programs)
    where packets > 0 && policy.filters.indices.contains(number) {
      decided[policy.filters[number], default: 0] &+= packets
    }
    return decided
  }

  /// What each filter of `policy` has decided in the kernel, in the policy's order.
  func kernelHits(
    _ installed: InstalledRules, _ rules: RuleSet, _ policy: FilterPolicy
  ) -> [UInt64] {
    let earlier = board.withLock { $0.earlierKernelHits }
    let now = installed.hits(of: rules.programs)
    guard !earlier.isEmpty || !now.isEmpty else {
      return [UInt64](repeating: 0, count: policy.filters.count)
    }
    return policy.filters.enumerated().map { number, filter in
      (now[number] ?? 0) &+ (earlier[filter] ?? 0)
    }
  }
}
