// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// A rule that hands packets to queues.
public struct QueueUse: Sendable, Equatable, CustomStringConvertible {
  /// The queues; nil if the number is computed for each packet.
  public var queues: ClosedRange<UInt16>?
  /// True if packets go on when nobody listens.
  public var bypass: Bool
  /// Where the rule was found.
  public var origin: RuleOrigin
  /// Which rule: table, chain and handle, or its text.
  public var rule: String

  /// For example `queue 0-3 by nft: inet filter input handle 4`.
  public var description: String {
    "queue \(queues?.dashed ?? "computed") by \(origin): \(rule)"
  }
}

/// Finds out which queues are in use in this network namespace, and by whom.
public enum QueueScan {
  private static let path = "/proc/self/net/netfilter/nfnetlink_queue"

  /// The queues that somebody has bound; none on a kernel without nfnetlink_queue.
  public static func bound() throws(RuleError) -> [QueueStatus] {
    try parse(try RuleError.text(of: path) ?? "")
  }

  /// Reads the text of `/proc/self/net/netfilter/nfnetlink_queue`.
  ///
  /// - Throws: ``RuleError/malformedAnswer(from:detail:)`` at a line with a missing or overlarge column.
  public static func parse(_ text: String) throws(RuleError) -> [QueueStatus] {
    var queues: [QueueStatus] = []
    for line in text.split(whereSeparator: \.isNewline) where !String(line).trimmed.isEmpty {
      guard let status = QueueStatus(line: line) else {
        throw .malformedAnswer(from: path, detail: String(line.prefix(120)))
      }
      queues.append(status)
    }
    return queues
  }

  /// The queues that rules name, other than those of our own `table`.
  public static func named(
    excluding table: String = "callout"
  ) async throws(RuleError) -> [QueueUse] {
    var uses: [QueueUse] = []
    for rule in try NFTablesDump.read().rules where !rule.isOurs(table) {
      uses += rule.expressions.compactMap(\.queue).map {
        QueueUse(queues: $0.queues, bypass: $0.bypass, origin: rule.origin, rule: rule.place)
      }
    }
    for found in try await LegacyTables.rules() where !found.rule.isOurs(table) {
      guard let naming = found.rule.queue else { continue }
      uses.append(
        QueueUse(
          queues: naming.queues, bypass: naming.bypass, origin: .iptablesLegacy,
          rule: found.place))
    }
    return uses
  }
}
