// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutBridge
internal import CalloutEngine
internal import Kernel
internal import Logging
internal import ServiceLifecycle
internal import UnixSignals

/// `calloutd run`: the daemon.
struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Classifies packets until it is told to stop.")

  @OptionGroup var file: ConfigurationOption
  @Option(help: ArgumentHelp("Where calloutctl finds the daemon.", valueName: "path"))
  var socket = "/run/callout/control.sock"
  @Option(
    help: ArgumentHelp(
      "How much is logged to standard error: trace, debug, info, notice, warning, error.",
      valueName: "level"),
    transform: Self.level)
  var logLevel = Logger.Level.info

  func run() async throws {
    let level = logLevel
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = level
      return handler
    }
    UnixSocket.ignoreBrokenPipes()
    try await reportingFailures { try await serve(Logger(label: "calloutd")) }
  }

  private static func level(_ name: String) throws -> Logger.Level {
    guard let level = Logger.Level(rawValue: name) else {
      let names = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("there is no log level \"\(name)\", only \(names)")
    }
    return level
  }

  private func serve(_ logger: Logger) async throws {
    let policy = try PolicyFile.read(file.config)
    // The control socket is taken first: a second daemon fails here, before it touches any rule.
    let control = try ControlListener(at: socket)
    defer { control.close() }

    let (notes, noteSink) = AsyncStream.makeStream(
      of: InspectionNote.self, bufferingPolicy: .bufferingNewest(256))
    let bridge = Bridge(policy.configuration, logger: logger)
    let daemon = Daemon(bridge, policy, logger) { noteSink.yield($0) }
    let supervisor = ServiceNotification()
    // They stop from the last to the first: who watches events sees those of the shutdown too.
    var services: [any Service] = [
      InspectionLog(notes: notes, logger: logger),
      ControlServer(listener: control, daemon: daemon), BridgeService(daemon: daemon),
    ]
    if let address = policy.metricsListen {
      // Before the bridge starts: where the port is taken, nothing of ours has changed yet.
      services.append(try MetricsServer(at: address, daemon: daemon))
    }
    services.append(ReloadService(daemon: daemon, supervisor: supervisor, logger: logger))
    services.append(WatchdogService(daemon: daemon, supervisor: supervisor, logger: logger))
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: services.map { ServiceGroupConfiguration.ServiceConfiguration(service: $0) },
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
  }
}

/// The names of metadata in log lines.
enum LogKey {
  static let callout = "callout.callout"
  static let packet = "callout.packet"
  static let source = "callout.source"
  static let file = "callout.file"
  static let filters = "callout.filters"
  static let queues = "callout.queues"
  static let note = "callout.note"
  static let error = "error"
}
