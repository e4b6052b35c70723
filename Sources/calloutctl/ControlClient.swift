// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import Foundation
internal import Glibc
internal import Kernel

/// One question to the daemon.
struct ControlClient {
  let options: ClientOptions

  /// Asks, and prints the answer: its lines as they are, or what `render` makes of them all.
  func show<Report: Codable>(
    _ request: ControlRequest, _ render: ([Report]) -> String
  ) throws {
    var reports: [Report] = []
    try ask(request) { line in
      if options.json {
        print(String(decoding: line, as: UTF8.self))
      } else {
        reports.append(try JSONDecoder().decode(Report.self, from: Data(line)))
      }
      return true
    }
    if !options.json { print(render(reports), terminator: "") }
  }

  /// Asks, and gives each line of the answer to `body` until that returns false.
  ///
  /// What goes wrong is told on standard error and gives the exit code; with `--json` the daemon's
  /// own failures are printed as they came, too.
  func ask(_ request: ControlRequest, _ body: ([UInt8]) throws -> Bool) throws {
    do {
      try exchange(request, body)
    } catch {
      throw tell(error)
    }
  }

  /// As `ask`, but what goes wrong is told by the caller.
  func exchange(_ request: ControlRequest, _ body: ([UInt8]) throws -> Bool) throws {
    UnixSocket.ignoreBrokenPipes()
    var connection = try LineConnection(to: options.socket)
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    try connection.send(Array(try encoder.encode(request)))
    while let line = try connection.receive() {
      if let failure = try? JSONDecoder().decode(ControlFailure.self, from: Data(line)) {
        throw failure
      }
      guard try body(line) else { return }
    }
  }

  /// Tells what went wrong; gives the exit code.
  func tell(_ error: any Error) -> ExitCode {
    if options.json, let failure = error as? ControlFailure {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      if let line = try? encoder.encode(failure) { print(String(decoding: line, as: UTF8.self)) }
    }
    StandardStream.error.write(Array("calloutctl: \(Self.explain(error, options.socket))\n".utf8))
    return Self.exitCode(error)
  }

  static func exitCode(_ error: any Error) -> ExitCode {
    switch error {
    case let error as SystemError:
      switch error.errno {
      case ENOENT, ECONNREFUSED, ENOTSOCK, ECONNRESET, EPIPE, ENOTDIR: ExitCode(69)
      case EACCES, EPERM: ExitCode(77)
      default: .failure
      }
    case let failure as ControlFailure:
      switch failure.code {
      case .notPermitted: ExitCode(77)
      case .notRunning: ExitCode(69)
      default: .failure
      }
    default: .failure
    }
  }

  static func explain(_ error: any Error, _ socket: String) -> String {
    guard let error = error as? SystemError else {
      return error is DecodingError
        ? "the daemon's answer was not understood: \(error)" : "\(error)"
    }
    return switch error.errno {
    case ENOENT, ECONNREFUSED, ENOTDIR:
      "no daemon answers on \(socket); start calloutd or give its --socket"
    case EACCES, EPERM: "\(socket): not permitted; run as root"
    default: "\(error)"
    }
  }
}
