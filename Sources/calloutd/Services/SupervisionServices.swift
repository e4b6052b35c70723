// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import Logging
internal import ServiceLifecycle
internal import UnixSignals

/// Reads the policy file again on SIGHUP.
struct ReloadService: Service {
  let daemon: Daemon
  let supervisor: ServiceNotification
  let logger: Logger

  func run() async throws {
    let signals = await UnixSignalsSequence(trapping: .sighup)
    for await _ in signals.cancelOnGracefulShutdown() {
      supervisor.reloading()
      do {
        let report = try await daemon.reload()
        logger.info("policy replaced", metadata: [LogKey.filters: "\(report.filters)"])
        for note in report.notes {
          logger.warning("policy needs a restart", metadata: [LogKey.note: "\(note)"])
        }
      } catch {
        logger.error("policy stays as it was", metadata: [LogKey.error: "\(error)"])
      }
      supervisor.ready()
    }
  }
}

/// Tells systemd that the daemon runs, and that it still does.
///
/// A ping follows only when every worker has answered: a stuck one lets the watchdog bite.
struct WatchdogService: Service {
  let daemon: Daemon
  let supervisor: ServiceNotification
  let logger: Logger

  func run() async throws {
    try? await cancelWhenGracefulShutdown {
      while daemon.snapshot.phase == .starting { try await Task.sleep(for: .milliseconds(20)) }
      // A service that ends by itself is an error, and would hide that of the bridge.
      guard daemon.snapshot.phase == .running else { return try await gracefulShutdown() }
      supervisor.ready()
      guard let interval = supervisor.watchdogInterval else { return try await gracefulShutdown() }
      while true {
        do {
          let stuck = try await daemon.bridge.statistics().stuckQueues
          if stuck.isEmpty {
            supervisor.alive()
          } else {
            logger.error("workers do not answer", metadata: [LogKey.queues: "\(stuck)"])
          }
        } catch {
          logger.error("the bridge does not answer", metadata: [LogKey.error: "\(error)"])
        }
        try await Task.sleep(for: interval)
      }
    }
    supervisor.stopping()
  }
}
