// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Foundation

/// `calloutd check`: whether a policy file is right, without touching the system.
struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Checks a policy file, or prints what one can say.")

  @OptionGroup var file: ConfigurationOption
  @Flag(help: "Print one JSON object for each error.") var json = false
  @Flag(help: "Print every key with its type and default.") var schema = false

  /// One error as `--json` prints it.
  struct ProblemLine: Codable {
    var file: String
    var line: Int
    var column: Int
    var message: String
  }

  func run() async throws {
    if schema {
      print(PolicyFile.schemaText, terminator: "")
      return
    }
    do {
      let policy = try PolicyFile.read(file.config)
      guard !json else { return }
      let boot = policy.bootFilters.count
      print(
        "\(file.config): fine: \(policy.filters.count) filters, \(policy.callouts.count) callouts"
          + (boot == 0 ? "" : ", \(boot) boot-time filters"))
    } catch {
      for line in try json ? Self.jsonLines(error) : error.lines { print(line) }
      throw ExitCode.failure
    }
  }

  static func jsonLines(_ problems: PolicyProblems) throws -> [String] {
    try problems.problems.map {
      try JSONLine.text(
        ProblemLine(
          file: problems.file, line: $0.position.line, column: $0.position.column,
          message: $0.message))
    }
  }
}

/// JSON on one line.
enum JSONLine {
  /// The value's JSON without a newline.
  static func bytes(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
  }

  /// The value's JSON as text.
  static func text(_ value: some Encodable) throws -> String {
    String(decoding: try bytes(value), as: UTF8.self)
  }
}
