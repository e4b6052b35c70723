// SPDX-License-Identifier: Apache-2.0

/// What becomes of the packets of connections that no callout has to see any more.
///
/// They are known by bits of the conntrack mark, which whoever knows the callouts has set. ICMP errors
/// about such a connection are none of it, and neither are packets of a translated one, which look
/// different at each hook.
public struct FlowBypass: Sendable, Hashable {
  /// What the conntrack mark must be.
  ///
  /// Corresponds to `NFT_CT_MARK`.
  public var mark: MarkMatch
  /// Packets that match any element are queued all the same.
  public var selection: [KernelMap]
  /// The bands of filters, those of callouts with what they say of released flows.
  public var sublayers: [[KernelMap]]

  /// A bypass.
  public init(mark: MarkMatch, selection: [KernelMap], sublayers: [[KernelMap]]) {
    self.mark = mark
    self.selection = selection
    self.sublayers = sublayers
  }
}
