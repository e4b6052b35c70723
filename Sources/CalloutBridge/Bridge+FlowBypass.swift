// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import FirewallRules
internal import Kernel
internal import Synchronization

// Flows that every callout has released pass the kernel unseen, known by the conntrack mark.
extension Bridge {
  /// Has released flows marked in the kernel, if `policy` is the first that follows flows.
  ///
  /// Before that policy is put in force, by workers that are made already.
  func startReleasing(for policy: CompiledPolicy) async throws(BridgeError) {
    guard policy.followsFlows, board.withLock({ $0.flowReleaser == nil }),
      let mark = try await chooseFlowMark()
    else { return }
    do throws(SystemError) {
      let releaser = try FlowReleaser(mark)
      board.withLock { board in
        board.flowReleaser = releaser
        board.flowMark = mark
      }
      for worker in board.withLock({ $0.workers }) {
        worker.mailbox.post { $0.flowUse.releaser = releaser }
      }
    } catch {
      throw .system(error)
    }
  }

  /// What the conntrack mark of flows says that were released under the policy of a number.
  ///
  /// Nil where no flow gets that, and where nobody else has connections tracked: the kernel would begin
  /// and end to track them with our rules, which empties every queue.
  func released(underPolicy number: UInt32) -> MarkMatch? {
    board.withLock { board in
      guard board.isTracking, let mark = board.flowMark else { return nil }
      return MarkMatch(value: mark.value(ofPolicy: number), mask: mark.mask)
    }
  }

  /// Bits that no rule uses in either mark: rules copy one to the other.
  private func chooseFlowMark() async throws(BridgeError) -> FlowMark? {
    if configuration.flowBypass == .off { return nil }
    if configuration.flowBypass == .automatic {
      guard configuration.rules != .unmanaged, configuration.kernelFilters == .automatic else {
        return nil
      }
    }
    let uses: [MarkUse]
    do {
      uses = try await MarkScan.scan(excluding: configuration.ruleTable)
    } catch {
      throw .rules(error)
    }
    guard case .mask(let mask) = configuration.flowBypass else {
      if let mark = MarkScan.freeConnectionField(in: uses).flatMap(FlowMark.init(mask:)) {
        return mark
      }
      let warning = "released flows are queued on: no bits of the conntrack mark are free"
      if !board.withLock({ $0.warnings.contains(warning) }) { warn(warning) }
      return nil
    }
    guard let mark = FlowMark(mask: mask) else { throw .badMask(mask) }
    let conflicts = MarkScan.connectionConflicts(of: mask, in: uses)
    guard conflicts.isEmpty || configuration.ignoresMarkConflicts else {
      throw .flowMarkConflict(mask: mask, uses: conflicts.map(\.description))
    }
    for conflict in conflicts { warn("conntrack mark bits shared with \(conflict)") }
    return mark
  }
}
