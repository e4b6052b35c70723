// SPDX-License-Identifier: Apache-2.0

/// Bits of a mark that a foreign rule reads or writes.
public struct MarkUse: Sendable, Equatable, CustomStringConvertible {
  /// Which mark a rule looks at.
  public enum Subject: String, Sendable {
    /// The mark of packets (`skb->mark`), which bears our handles. Also a connection mark that is saved
    /// from or restored to packets: it replays their marks.
    case packet
    /// The mark of connections alone (`ct->mark`): no danger to a packet's mark.
    case connection
  }

  /// The bits; `0xffffffff` for a match or write without a mask.
  public var mask: UInt32
  /// Which mark.
  public var subject: Subject
  /// Where the rule was found.
  public var origin: RuleOrigin
  /// Which rule: table, chain and handle, or its text.
  public var rule: String

  /// Makes a use from its parts.
  public init(mask: UInt32, subject: Subject = .packet, origin: RuleOrigin, rule: String) {
    self.mask = mask
    self.subject = subject
    self.origin = origin
    self.rule = rule
  }

  /// For example `0x40000 by iptables: ip mangle PREROUTING handle 7`.
  public var description: String {
    let field = subject == .packet ? "" : " (connection mark)"
    return "\(hexadecimal(mask))\(field) by \(origin): \(rule)"
  }
}
