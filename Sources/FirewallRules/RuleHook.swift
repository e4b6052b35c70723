// SPDX-License-Identifier: Apache-2.0

/// A place in the IP stack, or on bridges, where rules of ours can hand packets to a queue.
///
/// The raw values are the kernel's. Corresponds to `NF_INET_PRE_ROUTING` … `NF_INET_POST_ROUTING`,
/// and to `NF_BR_PRE_ROUTING` … `NF_BR_POST_ROUTING`.
public enum RuleHook: UInt8, CaseIterable, Sendable {
  /// Every packet that arrives on an interface, before routing.
  case prerouting = 0
  /// Packets for this host.
  case input = 1
  /// Packets that this host passes on.
  case forward = 2
  /// Packets made on this host.
  case output = 3
  /// Every packet that leaves by an interface, after routing.
  case postrouting = 4

  /// The name nft and this module's tables use, for example `prerouting`.
  public var name: String { "\(self)" }

  /// The built-in chain of iptables' mangle table, for example `PREROUTING`.
  var builtInChain: String { name.uppercased() }
}

extension RuleHook: Comparable {
  /// Orders hooks as the kernel numbers them.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// The families of packets that a rule is for.
public struct Families: OptionSet, Sendable, Hashable, CustomStringConvertible {
  /// Bit 0 is IPv4, bit 1 is IPv6, bit 2 is a bridge's frames.
  public let rawValue: UInt8

  /// Makes a set from its bits; unknown bits are kept and mean nothing.
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// IPv4.
  ///
  /// Corresponds to `NFPROTO_IPV4`.
  public static let ipv4 = Families(rawValue: 1)
  /// IPv6.
  ///
  /// Corresponds to `NFPROTO_IPV6`.
  public static let ipv6 = Families(rawValue: 2)
  /// Frames of any kind that cross a bridge's ports.
  ///
  /// Corresponds to `NFPROTO_BRIDGE`.
  public static let bridge = Families(rawValue: 4)
  /// IPv4 and IPv6.
  public static let both: Families = [.ipv4, .ipv6]

  /// The one-family sets in this set, IPv4 first.
  public var each: [Families] { [.ipv4, .ipv6, .bridge].filter(contains) }

  /// The protocol number of a family's ICMP.
  var icmp: UInt8 { self == .ipv6 ? 58 : 1 }

  /// `ipv4`, `ipv6+bridge` and so on.
  public var description: String {
    let names = zip(["ipv4", "ipv6", "bridge"], [Families.ipv4, .ipv6, .bridge])
    let present = names.filter { contains($0.1) }.map(\.0)
    return present.isEmpty ? "none" : present.joined(separator: "+")
  }
}
