// SPDX-License-Identifier: Apache-2.0

/// One rule in the text that `iptables-save` prints.
struct SavedRule: Equatable {
  var table: String
  var chain: String
  var packets: UInt64 = 0
  var bytes: UInt64 = 0
  /// Everything after the chain, split into words, quotes undone.
  var words: [String]
  /// The line as printed, without counters.
  var text: String

  /// The rules and the names of all chains, by table, in `text`.
  ///
  /// - Throws: ``RuleError/malformedAnswer(from:detail:)`` at a line that is no part of the format.
  static func parse(_ text: String, from source: String) throws(RuleError) -> SavedRules {
    var saved = SavedRules()
    var table: String?
    for line in text.split(whereSeparator: \.isNewline) {
      switch line.first {
      case "#", nil:
        continue
      case "*":
        table = String(line.dropFirst())
      case ":":
        let name = line.dropFirst().prefix { $0 != " " }
        guard let table, !name.isEmpty else { throw malformed(line, source) }
        saved.chains[table, default: []].append(String(name))
      case "-", "[":
        guard let table, let rule = SavedRule(line, table: table) else {
          throw malformed(line, source)
        }
        saved.rules.append(rule)
      default:
        guard line == "COMMIT" else { throw malformed(line, source) }
        table = nil
      }
    }
    return saved
  }

  private static func malformed(_ line: Substring, _ source: String) -> RuleError {
    .malformedAnswer(from: source, detail: String(line.prefix(200)))
  }

  /// Reads `-A CHAIN …`, with or without `[packets:bytes]` before it.
  init?(_ line: Substring, table: String) {
    var rest = line
    self.table = table
    if rest.first == "[" {
      guard let end = rest.firstIndex(of: "]") else { return nil }
      let counters = rest[rest.index(after: rest.startIndex)..<end].split(separator: ":")
      guard counters.count == 2, let first = counters.first.flatMap({ UInt64($0) }),
        let last = counters.last.flatMap({ UInt64($0) })
      else { return nil }
      (packets, bytes) = (first, last)
      rest = rest[rest.index(after: end)...].drop { $0 == " " }
    }
    text = String(rest)
    let all = Self.split(rest)
    guard all.count >= 2, all.first == "-A" else { return nil }
    chain = all[1]
    words = Array(all.dropFirst(2))
  }

  /// Splits a line as `iptables-restore` does: double quotes hold a word together, a backslash in
  /// them takes the next character as it is.
  static func split(_ line: Substring) -> [String] {
    var words: [String] = []
    var word: String?
    var quoted = false
    var escaped = false
    for character in line {
      if escaped {
        word = (word ?? "") + String(character)
        escaped = false
      } else if quoted, character == "\\" {
        escaped = true
      } else if character == "\"" {
        quoted.toggle()
        word = word ?? ""
      } else if character.isWhitespace, !quoted {
        if let finished = word { words.append(finished) }
        word = nil
      } else {
        word = (word ?? "") + String(character)
      }
    }
    if let word { words.append(word) }
    return words
  }

  /// The word after an option, nil if the option is not there.
  func value(of option: String) -> String? {
    words.firstIndex(of: option).flatMap { words.indices.contains($0 + 1) ? words[$0 + 1] : nil }
  }

  /// True if the option is there and a `!` stands before it.
  func isNegated(_ option: String) -> Bool {
    words.firstIndex(of: option).map { $0 > 0 && words[$0 - 1] == "!" } ?? false
  }

  /// The target or chain after `-j` or `-g`.
  var target: String? { value(of: "-j") ?? value(of: "-g") }

  /// The queues an NFQUEUE rule names; nil for any other rule.
  var queue: QueueNaming? {
    guard target == "NFQUEUE" else { return nil }
    let bypass = words.contains("--queue-bypass")
    if let balance = value(of: "--queue-balance") {
      let ends = balance.split(separator: ":").compactMap { UInt16($0) }
      guard ends.count == 2, let first = ends.first, let last = ends.last, first <= last else {
        return nil
      }
      return QueueNaming(queues: first...last, bypass: bypass)
    }
    let number = value(of: "--queue-num").flatMap { UInt16($0) } ?? 0
    return QueueNaming(queues: number...number, bypass: bypass)
  }
}

/// What `iptables-save` printed.
struct SavedRules: Equatable {
  /// The chains of each table.
  var chains: [String: [String]] = [:]
  var rules: [SavedRule] = []
}

/// `value/mask` or `value` in any base that iptables prints; a missing mask is all bits.
func parseMark(_ text: String) -> MarkMatch? {
  let parts = text.split(separator: "/", omittingEmptySubsequences: false)
  guard parts.count <= 2, let first = parts.first.flatMap({ parseNumber($0) }) else { return nil }
  guard parts.count == 2 else { return MarkMatch(value: first, mask: .max) }
  return parts.last.flatMap { parseNumber($0) }.map { MarkMatch(value: first, mask: $0) }
}

/// A decimal or `0x` number of 32 bits.
func parseNumber(_ text: some StringProtocol) -> UInt32? {
  text.hasPrefix("0x") ? UInt32(text.dropFirst(2), radix: 16) : UInt32(text)
}
