// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutBridge
internal import FirewallRules
internal import Glibc
internal import Kernel

extension ExitCode {
  /// The program may not do it.
  static let notPermitted = ExitCode(77)
}

/// Runs a command's work; what goes wrong is told on standard error and gives the exit code.
func reportingFailures(
  _ body: () async throws -> Void
) async throws {
  do {
    try await body()
  } catch let error as ExitCode {
    throw error
  } catch let problems as PolicyProblems {
    printError(problems.description)
    throw ExitCode.failure
  } catch {
    printError("calloutd: \(error)")
    throw isNotPermitted(error) ? ExitCode.notPermitted : ExitCode.failure
  }
}

private func isNotPermitted(_ error: any Error) -> Bool {
  switch error {
  case let error as BridgeError: error.isNotPermitted
  case let error as SystemError: error.errno == EPERM || error.errno == EACCES
  case let error as ControlSocketError: isNotPermitted(error.error)
  case RuleError.refused(_, let errno, _), RuleError.unreadable(_, let errno):
    errno == EPERM || errno == EACCES
  default: false
  }
}

/// Writes a line to standard error.
func printError(_ text: String) {
  StandardStream.error.write(Array((text + "\n").utf8))
}
