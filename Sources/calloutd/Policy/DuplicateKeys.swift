// SPDX-License-Identifier: Apache-2.0

internal import Yams

/// Parses texts that give keys twice.
///
/// The parser stops at a duplicate key. To see what comes after, the key's first use gets another
/// name of the same length, and the text is parsed again: first each entry of a list by itself, since
/// a long list may have many, then the whole.
struct DuplicateKeys {
  /// The keys that new names stand for.
  private(set) var originals: [String: String] = [:]
  private var lines: [Substring] = []

  /// The first characters of new names; more duplicates than these in one entry are not looked for.
  private static let scalars = (UInt32(0xe000)...0xe0ff).compactMap(Unicode.Scalar.init)

  /// The tree of a text, with new names in it; nil with the reason reported if it has none.
  mutating func parse(_ text: String, _ problems: inout ProblemCollector) -> Node? {
    lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    for entry in entries() { _ = try? parse(entry) }
    do {
      return try parse(lines.indices)
    } catch {
      PolicyDocument.report(error, &problems)
      return nil
    }
  }

  /// Parses some lines until no key of theirs is given twice, or nothing can be done about it.
  private mutating func parse(_ range: Range<Int>) throws -> Node? {
    var tries = Self.scalars.makeIterator()
    while true {
      do {
        return try PolicyDocument.parse(lines[range].joined(separator: "\n"))
      } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
        let (line, column) = (range.lowerBound + context.mark.line - 1, context.mark.column - 1)
        guard let key = keys.first, let scalar = tries.next(),
          rename(key, to: scalar, line, column)
        else { throw YamlError.duplicatedKeysInMapping(duplicates: keys, context: context) }
      }
    }
  }

  /// The lines of each entry of the lists below the file's own keys.
  private func entries() -> [Range<Int>] {
    var entries: [Range<Int>] = []
    var start: Int?
    var indentation = 0
    for (number, line) in lines.enumerated() {
      guard let first = line.firstIndex(where: { $0 != " " }), line[first] != "#" else { continue }
      let depth = line.utf8.distance(from: line.startIndex, to: first)
      let isEntry = line[first] == "-" && (start == nil || depth <= indentation)
      guard isEntry || depth <= indentation else { continue }
      if let start { entries.append(start..<number) }
      start = isEntry ? number : nil
      indentation = isEntry ? depth : 0
    }
    if let start { entries.append(start..<lines.count) }
    return entries
  }

  private mutating func rename(
    _ key: String, to scalar: Unicode.Scalar, _ line: Int, _ column: Int
  ) -> Bool {
    guard lines.indices.contains(line) else { return false }
    var text = Array(lines[line].unicodeScalars)
    var start = column
    guard text.indices.contains(start) else { return false }
    if text[start] == "\"" || text[start] == "'" { start += 1 }
    let scalars = Array(key.unicodeScalars)
    guard !scalars.isEmpty, start < text.count, text[start...].starts(with: scalars) else {
      return false
    }
    let name = String(String.UnicodeScalarView([scalar] + scalars.dropFirst()))
    guard originals[name] ?? key == key else { return false }
    originals[name] = key
    text[start] = scalar
    lines[line] = Substring(String(String.UnicodeScalarView(text)))
    return true
  }
}
