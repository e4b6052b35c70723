// SPDX-License-Identifier: Apache-2.0

internal import Yams

/// A place in a policy file, counted from 1; columns count characters.
struct SourcePosition: Sendable, Hashable, Comparable {
  var line: Int
  var column: Int

  /// The beginning of the file.
  static let start = SourcePosition(line: 1, column: 1)

  static func < (left: Self, right: Self) -> Bool {
    (left.line, left.column) < (right.line, right.column)
  }
}

extension Node {
  /// Where the node begins in its file.
  var position: SourcePosition {
    guard let mark, mark.line > 0 else { return .start }
    return SourcePosition(line: mark.line, column: mark.column)
  }
}

/// One thing that is wrong with a policy file: where, what was found, what was expected.
struct PolicyProblem: Sendable, Hashable {
  var position: SourcePosition
  var message: String
}

/// Everything that is wrong with a policy file, in the file's order.
struct PolicyProblems: Error, Sendable, CustomStringConvertible {
  var file: String
  var problems: [PolicyProblem]

  /// One line each: `FILE:LINE:COLUMN: error: ...`.
  var lines: [String] {
    problems.map { "\(file):\($0.position.line):\($0.position.column): error: \($0.message)" }
  }

  var description: String { lines.joined(separator: "\n") }
}

/// Collects problems while a file is read, so that one run shows them all.
struct ProblemCollector {
  private var seen: Set<PolicyProblem> = []

  /// Notes a problem; the same one at the same place, met again through an alias, counts once.
  mutating func report(_ message: String, at position: SourcePosition) {
    seen.insert(PolicyProblem(position: position, message: message))
  }

  /// Notes that a node is not what was expected there.
  mutating func report(_ node: Node, isNot expected: String) {
    report("found \(node.summary), expected \(expected)", at: node.position)
  }

  /// Whether nothing is wrong.
  var isEmpty: Bool { seen.isEmpty }

  /// How much is wrong.
  var count: Int { seen.count }

  /// All problems in the file's order.
  var sorted: [PolicyProblem] {
    seen.sorted { ($0.position, $0.message) < ($1.position, $1.message) }
  }
}

extension Node {
  /// The node as an error message shows it.
  var summary: String {
    switch self {
    case .scalar(let scalar):
      if scalar.string.isEmpty, scalar.style == .plain { return "nothing" }
      let text = scalar.string.prefix(60)
      return isQuoted ? "the quoted text \"\(text)\"" : "\"\(text)\""
    case .mapping: return "a mapping"
    case .sequence: return "a list"
    case .alias: return "an alias"
    }
  }

  /// Whether it is text in quotes or a block, which is never read as a number.
  var isQuoted: Bool {
    guard let style = scalar?.style else { return false }
    return style != .plain && style != .any
  }

  /// The text of an unquoted scalar.
  var plainText: String? { isQuoted ? nil : scalar?.string }
}
