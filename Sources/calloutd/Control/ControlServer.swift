// SPDX-License-Identifier: Apache-2.0

internal import FlyingSocks
internal import ServiceLifecycle

/// Answers `calloutctl` on the control socket.
struct ControlServer: Service {
  /// More connections than these are turned away with an answer.
  static let maximumConnections = 32
  /// How long a client may take to say what it wants.
  static let patience = Duration.seconds(10)
  /// How long connections may go on after the shutdown, for the last events.
  static let farewell = Duration.seconds(2)

  let listener: ControlListener
  let daemon: Daemon

  func run() async throws {
    let answers = ControlAnswers(daemon: daemon)
    let server = ConnectionServer(
      maximumConnections: Self.maximumConnections, farewell: Self.farewell
    ) { connection, isFull in
      await ControlConnection(socket: connection, answers: answers).serve(isFull: isFull)
    }
    try await server.run(on: Socket(file: Socket.FileDescriptor(rawValue: listener.number)))
  }
}
