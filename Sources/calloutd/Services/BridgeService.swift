// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Logging
internal import ServiceLifecycle

/// Runs the bridge from start to ordered shutdown.
struct BridgeService: Service {
  let daemon: Daemon

  func run() async throws {
    do {
      try await daemon.start()
    } catch {
      await daemon.stop()
      throw error
    }
    // Cancelled or asked to stop, the rules must go either way.
    try? await gracefulShutdown()
    await daemon.stop()
  }
}

/// Writes what inspect callouts describe to the log, off the packet path.
struct InspectionLog: Service {
  let notes: AsyncStream<InspectionNote>
  let logger: Logger

  func run() async throws {
    for await note in notes.cancelOnGracefulShutdown() {
      logger.info(
        "packet", metadata: [LogKey.callout: "\(note.callout)", LogKey.packet: "\(note)"])
    }
  }
}
