// SPDX-License-Identifier: Apache-2.0

internal import Yams

/// A policy file as a tree of nodes in which every key, also a duplicate, has its place.
struct PolicyDocument {
  /// The root, nil for an empty file.
  let root: Node?
  /// Keys that the file gives again later, under the names they got in the tree.
  private let duplicates: [String: String]

  /// The largest file that is read: some 300,000 filters.
  static let maximumLength = 1 << 26
  /// Parses the text of a file.
  init(_ text: String, _ problems: inout ProblemCollector) {
    var root: Node?
    var names = DuplicateKeys()
    do {
      root = try Self.parse(text)
    } catch YamlError.duplicatedKeysInMapping {
      root = names.parse(text, &problems)
    } catch {
      Self.report(error, &problems)
    }
    self.root = root
    duplicates = names.originals
  }

  /// Parses a text; keys are told apart by what they say, never by what it might mean.
  static func parse(_ text: String) throws -> Node? { try compose(yaml: text, .basic) }

  /// The key that a name in the tree stands for, if the file gives it again later.
  func duplicate(_ name: String) -> String? { duplicates[name] }

  /// Turns the parser's errors into ours.
  static func report(_ error: any Error, _ problems: inout ProblemCollector) {
    switch error {
    case YamlError.scanner(let context, let problem, let mark, _),
      YamlError.parser(let context, let problem, let mark, _),
      YamlError.composer(let context, let problem, let mark, _):
      let place = context.map { " \($0.text)" } ?? ""
      problems.report(
        "not YAML: \(problem)\(place)",
        at: SourcePosition(line: max(1, mark.line), column: max(1, mark.column)))
    case YamlError.duplicatedKeysInMapping(let keys, let context):
      problems.report(
        "duplicate key \"\(keys.first ?? "")\", expected each key once",
        at: SourcePosition(line: max(1, context.mark.line), column: max(1, context.mark.column)))
    case YamlError.reader(let problem, _, _, _):
      problems.report("not YAML: \(problem), expected UTF-8 text", at: .start)
    default:
      problems.report("not YAML: \(error)", at: .start)
    }
  }
}
