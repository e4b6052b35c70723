// SPDX-License-Identifier: Apache-2.0

internal import Yams

/// A policy file as a tree of nodes in which every key, also a duplicate, has its place.
struct PolicyDocument {
  /// The root, nil for an empty file.
  let root: Node?
  /// Keys that the file gives again later, under the names they got in the tree.
  private let duplicates: [String: String]

  /// The largest file that is read.
  static let maximumLength = 1 << 22
  /// The first character of renamed keys.
  ///
  /// The parser stops at a duplicate key. To see what comes after, the key's first use gets
  /// another name of the same length, and the file is parsed again.
  private static let privateScalars = UInt32(0xe000)...0xe0ff

  /// Parses the text of a file.
  init(_ text: String, _ problems: inout ProblemCollector) {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map {
      Array($0.unicodeScalars)
    }
    var duplicates: [String: String] = [:]
    var text = text
    for value in Self.privateScalars {
      do {
        root = try compose(yaml: text)
        self.duplicates = duplicates
        return
      } catch let error as YamlError {
        guard case .duplicatedKeysInMapping(let keys, let context) = error else {
          Self.report(error, &problems)
          break
        }
        let (line, column) = (context.mark.line - 1, context.mark.column - 1)
        guard let key = keys.first, let scalar = Unicode.Scalar(value),
          let renamed = Self.rename(key, to: scalar, in: &lines, line, column)
        else {
          Self.report(error, &problems)
          break
        }
        duplicates[renamed] = key
        text = lines.map { String(String.UnicodeScalarView($0)) }.joined(separator: "\n")
        continue
      } catch {
        Self.report(error, &problems)
      }
      break
    }
    root = nil
    self.duplicates = duplicates
  }

  /// The key that a name in the tree stands for, if the file gives it again later.
  func duplicate(_ name: String) -> String? { duplicates[name] }

  private static func rename(
    _ key: String, to scalar: Unicode.Scalar, in lines: inout [[Unicode.Scalar]],
    _ line: Int, _ column: Int
  ) -> String? {
    guard lines.indices.contains(line), lines[line].indices.contains(column) else { return nil }
    var start = column
    let quotes: [Unicode.Scalar] = ["\"", "'"]
    if quotes.contains(lines[line][start]) { start += 1 }
    let scalars = Array(key.unicodeScalars)
    guard !scalars.isEmpty, lines[line][start...].starts(with: scalars) else { return nil }
    lines[line][start] = scalar
    return String(String.UnicodeScalarView([scalar] + scalars.dropFirst()))
  }

  /// Turns the parser's errors into ours.
  private static func report(_ error: any Error, _ problems: inout ProblemCollector) {
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
