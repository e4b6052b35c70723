// SPDX-License-Identifier: Apache-2.0

internal import Yams

/// A type of value in policy files: how it is called and how it is read.
struct SchemaValue<Value> {
  /// What was expected, in messages and in the schema ("a duration such as 200ms").
  let name: String
  /// Reads a node, or reports why it cannot and gives nil.
  let read: (Node, inout PolicyReader) -> Value?

  init(_ name: String, read: @escaping (Node, inout PolicyReader) -> Value?) {
    self.name = name
    self.read = read
  }

  /// A value that is one unquoted word; `parse` gives nil for what is none.
  static func word(_ name: String, _ parse: @escaping (String) -> Value?) -> SchemaValue {
    SchemaValue(name) { node, reader in
      if let text = node.plainText, let value = parse(text) { return value }
      reader.problems.report(node, isNot: name)
      return nil
    }
  }

  /// The value in an optional.
  var optional: SchemaValue<Value?> {
    SchemaValue<Value?>(name) { node, reader in read(node, &reader).map { .some($0) } }
  }

  /// Also the word `word`, which stands for `value`.
  func or(_ word: String, _ value: Value) -> SchemaValue {
    let name = "\(word) or \(name)"
    return SchemaValue(name) { node, reader in
      if node.plainText == word { return value }
      guard node.scalar != nil else {
        reader.problems.report(node, isNot: name)
        return nil
      }
      var attempt = reader
      attempt.problems = ProblemCollector()
      let result = read(node, &attempt)
      if result == nil {
        // A message of its own beats the general one, which would not name the word.
        for problem in attempt.problems.sorted {
          let isGeneral = problem.message.hasSuffix("expected \(self.name)")
          reader.problems.report(
            isGeneral ? "found \(node.summary), expected \(name)" : problem.message,
            at: problem.position)
        }
      }
      return result
    }
  }
}

extension SchemaValue where Value == String {
  /// Any text that is not empty.
  static func text(_ name: String) -> SchemaValue {
    SchemaValue(name) { node, reader in
      if let text = node.scalar?.string, !text.isEmpty { return text }
      reader.problems.report(node, isNot: name)
      return nil
    }
  }
}

extension SchemaValue where Value: FixedWidthInteger {
  /// A number, decimal or hexadecimal.
  static func number(_ range: ClosedRange<Value>, of what: String = "a number") -> SchemaValue {
    word("\(what) from \(range.lowerBound) to \(range.upperBound)") { text in
      guard let value = UInt128(policyNumber: text), let exact = Value(exactly: value),
        range.contains(exact)
      else { return nil }
      return exact
    }
  }
}

extension SchemaValue {
  /// One of several words.
  static func choice(_ words: [(String, Value)]) -> SchemaValue {
    word(words.map(\.0).joined(separator: " or ")) { text in
      words.first { $0.0 == text }?.1
    }
  }
}

extension UInt128 {
  /// A number as policy files write it: decimal, or hexadecimal behind 0x.
  init?(policyNumber text: String) {
    let isHexadecimal = text.hasPrefix("0x")
    let digits = isHexadecimal ? text.dropFirst(2) : text[...]
    guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") }),
      digits.utf8.allSatisfy({ $0 != UInt8(ascii: "-") })
    else { return nil }
    self.init(digits, radix: isHexadecimal ? 16 : 10)
  }
}
