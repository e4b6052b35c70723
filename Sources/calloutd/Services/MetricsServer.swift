// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import FlyingSocks
internal import Foundation
internal import Glibc
internal import PacketViews
internal import ServiceLifecycle

/// Serves `GET /metrics` in Prometheus' text format.
///
/// HTTP is answered here and not by FlyingFox, whose proxy handler would link libcurl into the
/// static binary.
struct MetricsServer: Service {
  private let listener: Socket
  private let daemon: Daemon

  /// Takes the port, which nobody answers at before `run`.
  init(at address: ListenAddress, daemon: Daemon) throws {
    do {
      listener = try Self.listen(at: address)
    } catch {
      throw MetricsError(address: address, reason: "\(error.localizedDescription)")
    }
    self.daemon = daemon
  }

  func run() async throws {
    let server = ConnectionServer(maximumConnections: 16, farewell: .zero) { connection, isFull in
      let answer = isFull ? HTTPAnswer.status("503 Service Unavailable") : await answer(connection)
      try? await connection.write(Data(answer.utf8))
    }
    try await server.run(on: listener)
  }

  private static func listen(at address: ListenAddress) throws -> Socket {
    let isIPv6 = address.address.version == .v6
    let socket = try Socket(domain: isIPv6 ? AF_INET6 : AF_INET)
    try socket.setValue(true, for: .localAddressReuse)
    let host = "\(address.address)"
    if isIPv6 {
      try socket.bind(to: sockaddr_in6.inet6(ip6: host, port: address.port))
    } else {
      try socket.bind(to: sockaddr_in.inet(ip4: host, port: address.port))
    }
    try socket.listen()
    return socket
  }

  private func answer(_ connection: AsyncSocket) async -> String {
    guard let head = await HTTPRequestHead.receive(from: connection) else {
      return HTTPAnswer.status("400 Bad Request")
    }
    guard head.method == "GET" else { return HTTPAnswer.status("405 Method Not Allowed") }
    guard head.path == "/metrics" else { return HTTPAnswer.status("404 Not Found") }
    guard let statistics = try? await daemon.bridge.statistics() else {
      return HTTPAnswer.status("503 Service Unavailable")
    }
    return HTTPAnswer.text(
      PrometheusText.render(statistics, filters: daemon.snapshot.file.filters),
      type: "text/plain; version=0.0.4; charset=utf-8")
  }
}

/// The first line of an HTTP request.
struct HTTPRequestHead: Equatable {
  static let maximumBytes = 8192
  static let patience = Duration.seconds(5)
  var method: String
  var path: String

  /// Reads the line; nil if it is none.
  init?(line: some StringProtocol) {
    let words = line.split(separator: " ")
    guard words.count == 3, words[2].hasPrefix("HTTP/1.") else { return nil }
    method = String(words[0])
    path = String(words[1].prefix { $0 != "?" })
  }

  /// Reads a request to the end of its headers; nil if it is none, too long or too slow.
  static func receive(from connection: AsyncSocket) async -> HTTPRequestHead? {
    await withTaskGroup(of: HTTPRequestHead?.self) { group in
      group.addTask {
        var bytes: [UInt8] = []
        while bytes.count < maximumBytes {
          guard let chunk = try? await connection.read(atMost: 4096) else { return nil }
          bytes += chunk
          let text = String(decoding: bytes, as: UTF8.self)
          guard text.contains("\r\n\r\n") else { continue }
          return HTTPRequestHead(line: text.prefix { !$0.isNewline })
        }
        return nil
      }
      group.addTask {
        try? await Task.sleep(for: patience)
        return nil
      }
      defer { group.cancelAll() }
      return await group.next() ?? nil
    }
  }
}

/// Whole HTTP answers, after which the connection is closed.
enum HTTPAnswer {
  static func status(_ status: String) -> String {
    answer(status, "text/plain", status + "\n")
  }

  static func text(_ body: String, type: String) -> String { answer("200 OK", type, body) }

  private static func answer(_ status: String, _ type: String, _ body: String) -> String {
    "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n"
      + "Connection: close\r\n\r\n" + body
  }
}

/// The metrics cannot be served.
struct MetricsError: Error, CustomStringConvertible {
  var address: ListenAddress
  var reason: String
  var description: String {
    "metrics on \(address): \(reason); give another address in metrics.listen"
  }
}
