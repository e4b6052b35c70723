// SPDX-License-Identifier: Apache-2.0

/// Where a foreign rule was found.
public enum RuleOrigin: String, Sendable, CaseIterable, CustomStringConvertible {
  /// A rule of nftables.
  case nft
  /// A rule made with iptables' nft front end.
  case iptables
  /// A rule of legacy iptables.
  case iptablesLegacy = "iptables-legacy"
  /// A routing rule with `fwmark`.
  case ipRule = "ip rule"
  /// Another program that diverts frames.
  case divert = "another calloutd"

  /// The origin in the words of its tool.
  public var description: String { rawValue }
}
