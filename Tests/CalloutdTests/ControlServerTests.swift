// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutControl
import Foundation
import Glibc
import Kernel
import Logging
import Testing

@testable import calloutd

/// A control server of a daemon whose bridge was never started, so that no kernel is needed.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the server answers root only"))
struct ControlServerTests {
  private let path = "/tmp/callout-control-\(UInt32.random(in: 0 ... .max)).sock"

  private func serving(_ body: () async throws -> Void) async throws {
    let file = try PolicyFile.parse("callouts:\n- { name: dns, type: tag }\n", path: "p.yaml")
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    let daemon = Daemon(Bridge(file.configuration, logger: logger), file, logger, sink: { _ in })
    let listener = try ControlListener(at: path)
    defer { listener.close() }
    let server = Task { try await ControlServer(listener: listener, daemon: daemon).run() }
    defer { server.cancel() }
    try await body()
    // Held until here: the server does not own the descriptor.
    _ = listener.number
    server.cancel()
    _ = await server.result
  }

  /// Runs a client on a thread of its own, because it blocks.
  private func onThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
  ) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      do {
        _ = try DedicatedThread(name: "client") {
          continuation.resume(with: Result { try body() })
        }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  /// All answer lines.
  private func ask(_ request: String) async throws -> [String] {
    try await onThread { [path] in
      var connection = try LineConnection(to: path)
      // A request that is refused half way breaks the pipe; the answer still comes.
      try? connection.send(Array(request.utf8))
      var lines: [String] = []
      while let line = try connection.receive() {
        lines.append(String(decoding: line, as: UTF8.self))
      }
      return lines
    }
  }

  private func code(_ request: String) async throws -> ControlFailure.Code? {
    let lines = try await ask(request)
    guard lines.count == 1 else { return nil }
    return try? JSONDecoder().decode(ControlFailure.self, from: Data(lines[0].utf8)).code
  }

  private func expect(_ request: String, _ expected: ControlFailure.Code) async {
    let found = try? await code(request)
    #expect(found == expected)
  }

  @Test func `a starting daemon says so and answers nothing else`() async throws {
    try await serving {
      let lines = try await ask(#"{"command":"status"}"#)
      let status = try JSONDecoder().decode(
        StatusReport.self, from: Data((lines.first ?? "").utf8))
      #expect(lines.count == 1)
      #expect(status.state == .starting)
      #expect(status.policy.file == "p.yaml")
      await expect(#"{"command":"queues"}"#, .notRunning)
      await expect(#"{"command":"reload"}"#, .notRunning)
      await expect(#"{"command":"capture"}"#, .notRunning)
    }
  }

  @Test func `malformed requests get an error each and the next client is served`() async throws {
    try await serving {
      await expect("garbage", .malformedRequest)
      await expect(#"{"command":"format-disk"}"#, .unknownCommand)
      await expect(#"{"command":"events","tag":"nope"}"#, .unknownTag)
      await expect(#"{"command":"capture","snap":0}"#, .malformedRequest)
      await expect(
        String(repeating: "x", count: ControlRequest.maximumLength), .requestTooLong)
      let lines = try await ask(#"{"command":"callouts"}"#)
      #expect(lines.count == 1)
    }
  }

  @Test func `clients beyond the limit are turned away and the others keep their place`()
    async throws
  {
    try await serving {
      var held: [HeldConnection] = try await onThread { [path] in
        try (0..<ControlServer.maximumConnections).map { _ in try HeldConnection(to: path) }
      }
      #expect(held.count == ControlServer.maximumConnections)
      await expect(#"{"command":"callouts"}"#, .busy)
      held = []
      var answer = try await code(#"{"command":"callouts"}"#)
      for _ in 0..<100 where answer == .busy {
        try await Task.sleep(for: .milliseconds(20))
        answer = try await code(#"{"command":"callouts"}"#)
      }
      #expect(answer == nil)
    }
  }
}

/// A connection that says nothing until it goes.
private final class HeldConnection: Sendable {
  private let connection: LineConnection
  init(to path: String) throws { connection = try LineConnection(to: path) }
}
