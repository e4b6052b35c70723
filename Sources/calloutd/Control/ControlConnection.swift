// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import FlyingSocks
internal import Foundation
internal import Kernel

/// One connection: one request, its answer.
struct ControlConnection: Sendable {
  let socket: AsyncSocket
  let answers: ControlAnswers

  /// Serves the connection to its end; what goes wrong harms nobody else.
  func serve(isFull: Bool) async {
    do {
      guard UnixSocket.peerUser(of: socket.socket.file.rawValue) == 0 else {
        throw ControlFailure(.notPermitted, "only root may ask; run calloutctl as root")
      }
      guard !isFull else {
        throw ControlFailure(
          .busy, "\(ControlServer.maximumConnections) connections are open; close some")
      }
      let request = try Self.decode(try await receive())
      switch ControlRequest.Command(rawValue: request.command) {
      case .events: try await stream(request)
      case .capture: try await capture(request)
      default: for line in try await answers.lines(for: request) { try await send(line) }
      }
    } catch let failure as ControlFailure {
      guard let line = try? JSONLine.bytes(failure) else { return }
      try? await send(line)
      await discardRest()
    } catch {
      // The client has gone.
    }
  }

  /// Reads what the client may still be sending: closing over it would reset the connection.
  private func discardRest() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        var left = 1 << 20
        while left > 0, let bytes = try? await socket.read(atMost: 4096) { left -= bytes.count }
      }
      group.addTask { try? await Task.sleep(for: .milliseconds(100)) }
      await group.next()
      group.cancelAll()
    }
  }

  private func send(_ line: [UInt8]) async throws {
    try await socket.write(Data(line + [UInt8(ascii: "\n")]))
  }

  /// Reads up to the first newline.
  private func receive() async throws -> [UInt8] {
    try await withThrowingTaskGroup(of: [UInt8].self) { group in
      group.addTask { try await receiveLine() }
      group.addTask {
        try await Task.sleep(for: ControlServer.patience)
        throw ControlFailure(.malformedRequest, "no request came; send one JSON object in a line")
      }
      defer { group.cancelAll() }
      return try await group.next() ?? []
    }
  }

  private func receiveLine() async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let chunk: [UInt8]
      do {
        chunk = try await socket.read(atMost: 4096)
      } catch SocketError.disconnected where !bytes.isEmpty {
        return bytes
      }
      bytes += chunk
      if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
        guard end < ControlRequest.maximumLength else { throw Self.tooLong }
        return Array(bytes[..<end])
      }
      guard bytes.count < ControlRequest.maximumLength else { throw Self.tooLong }
    }
  }

  private static let tooLong = ControlFailure(
    .requestTooLong, "the request is longer than \(ControlRequest.maximumLength) bytes")

  /// The request in a line.
  static func decode(_ line: [UInt8]) throws(ControlFailure) -> ControlRequest {
    let request: ControlRequest
    do {
      request = try JSONDecoder().decode(ControlRequest.self, from: Data(line))
    } catch {
      throw ControlFailure(
        .malformedRequest, "the request is no JSON object such as {\"command\":\"status\"}")
    }
    guard ControlRequest.Command(rawValue: request.command) != nil else {
      let known = ControlRequest.Command.allCases.map(\.rawValue).joined(separator: ", ")
      throw ControlFailure(
        .unknownCommand, "there is no command \"\(request.command.prefix(40))\", only \(known)")
    }
    if let count = request.count, count < 0 {
      throw ControlFailure(.malformedRequest, "count is \(count), expected 0 or more")
    }
    if request.snap == 0 {
      throw ControlFailure(.malformedRequest, "snap is 0, expected 1 or more")
    }
    return request
  }

  /// Sends events until there are enough, the bridge stops or the client goes.
  private func stream(_ request: ControlRequest) async throws {
    let answer = try answers.eventsAnswer(to: request)
    if request.count == 0 { return }
    try await LineStream(socket: socket).run { try await answer.fill($0) }
  }

  /// Sends packets and their events until the bridge stops or the client goes.
  private func capture(_ request: ControlRequest) async throws {
    let stream = try await answers.captureStream(for: request)
    try await LineStream(socket: socket).run { try await stream.fill($0) }
  }
}
