// SPDX-License-Identifier: Apache-2.0

/// The means by which rules of ours reach a queue.
public enum RuleBackend: String, Sendable, CaseIterable {
  /// An own nft table with the `queue` statement. Needs `CONFIG_NFT_QUEUE`.
  case nft
  /// An own nft table with the xtables target NFQUEUE. Needs `CONFIG_NFT_COMPAT` and
  /// `CONFIG_NETFILTER_XT_TARGET_NFQUEUE`.
  case nftCompat = "nft-compat"
  /// Chains in iptables' mangle table. Rules after ours in the same built-in chain never see queued
  /// or bypassed packets.
  case iptables

  /// Finds the best means that this kernel and this host have, and leaves no trace.
  ///
  /// Each nft means is tried in a transaction that names it in a chain without a hook and then fails
  /// on purpose: the kernel checks (and loads) everything and takes it all back. No hook is made
  /// or removed, so no waiting packet is lost.
  ///
  /// - Throws: ``RuleError/refused(operation:errno:message:)`` without `CAP_NET_ADMIN`;
  ///   ``RuleError/unsupported(_:)`` if there is no means at all.
  public static func detect() throws(RuleError) -> RuleBackend {
    var reasons: [String] = []
    for backend in [RuleBackend.nft, .nftCompat] {
      do throws(RuleError) {
        try NFTablesBackend.rehearse(.probe, with: backend)
        return backend
      } catch {
        guard error.meansUnsupported else { throw error }
        reasons.append("\(backend.rawValue): \(error)")
      }
    }
    if Program.path(of: "iptables-restore") != nil { return .iptables }
    reasons.append("iptables: no iptables-restore program")
    throw .unsupported("no way to queue packets (\(reasons.joined(separator: "; ")))")
  }

  /// Throws unless this means works here; leaves no trace, as ``detect()``.
  public func check() throws(RuleError) {
    switch self {
    case .nft, .nftCompat:
      try NFTablesBackend.rehearse(.probe, with: self)
    case .iptables:
      guard Program.path(of: "iptables-restore") != nil else {
        throw .missingProgram("iptables-restore")
      }
    }
  }
}

extension RuleBackend {
  /// Throws unless the kernel takes these rules; leaves no trace, as ``detect()``.
  ///
  /// - Throws: ``RuleError/noKernelFilters(reason:)`` where ipset, iptables' matches or their limits
  ///   do not allow for what the kernel is to decide.
  public func check(_ ruleSet: RuleSet) async throws(RuleError) {
    guard self != .iptables else { return try await IPTablesBackend.rehearse(ruleSet) }
    try NFTablesBackend.rehearse(ruleSet, with: self)
  }

  /// Throws unless the frames of bridges can be queued here by this means; leaves no trace, as
  /// ``detect()``.
  ///
  /// - Throws: ``RuleError/noBridgeQueue(reason:)`` where the kernel or the means cannot.
  public func checkFrames() throws(RuleError) {
    guard self != .iptables else { throw .noBridgeQueue(reason: "iptables knows no frames") }
    var frames = RuleSet.probe
    frames.hooks = [.forward: .bridge]
    try NFTablesBackend.rehearse(frames, with: self)
  }
}

extension RuleSet {
  /// The smallest set that exercises every expression we use.
  static let probe = RuleSet(
    queues: 31000...31001, hooks: [.output: .both], bypass: true,
    passMark: MarkMatch(value: 1, mask: 1))
}
