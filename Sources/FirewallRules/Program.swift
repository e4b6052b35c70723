// SPDX-License-Identifier: Apache-2.0

import Kernel
import Subprocess

/// Runs the programs of iptables.
enum Program {
  /// Where they live; a service's PATH often lacks the first.
  private static let folders = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"]
  /// More text than any rule set in use has.
  private static let outputLimit = 64 << 20

  /// Where a program lies, or nil.
  static func path(of name: String) -> String? {
    folders.lazy.map { "\($0)/\(name)" }.first(where: KernelFile.isExecutable)
  }

  /// Runs a program to its end and returns what it printed.
  ///
  /// - Throws: ``RuleError/missingProgram(_:)`` and
  ///   ``RuleError/programFailed(command:status:message:)``, the message being what the program said.
  static func run(
    _ name: String, _ arguments: [String], input: String = ""
  ) async throws(RuleError) -> String {
    guard path(of: name) != nil else { throw .missingProgram(name) }
    let command = ([name] + arguments).joined(separator: " ")
    do {
      let result = try await Subprocess.run(
        .name(name), arguments: .init(arguments),
        environment: .inherit.updating([
          "PATH": folders.joined(separator: ":"), "LC_ALL": "C",
        ]),
        input: .string(input),
        output: .string(limit: outputLimit), error: .string(limit: 1 << 20))
      switch result.terminationStatus {
      case .exited(0):
        return result.standardOutput
      case .exited(let status):
        throw RuleError.programFailed(
          command: command, status: status, message: result.standardError.trimmed)
      case .signaled(let signal):
        throw RuleError.programFailed(
          command: command, status: signal, message: "ended by signal \(signal)")
      }
    } catch let error as RuleError {
      throw error
    } catch {
      throw .programFailed(command: command, status: -1, message: "\(error)")
    }
  }
}

extension String {
  /// Without white space at the ends.
  var trimmed: String {
    guard let first = firstIndex(where: { !$0.isWhitespace }),
      let last = lastIndex(where: { !$0.isWhitespace })
    else { return "" }
    return String(self[first...last])
  }
}
