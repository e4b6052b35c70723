// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import Kernel

/// Tells systemd what the daemon is doing; silent without systemd.
///
/// Corresponds to `sd_notify`.
struct ServiceNotification: Sendable {
  private let socket: String?
  /// How often the watchdog wants to hear of us, nil if there is none.
  let watchdogInterval: Duration?

  init(environment: [String: String] = ProcessInfo.processInfo.environment) {
    socket = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
    let isForUs =
      environment["WATCHDOG_PID"].map { $0 == "\(ProcessInfo.processInfo.processIdentifier)" }
      ?? true
    let microseconds = environment["WATCHDOG_USEC"].flatMap { Int64($0) } ?? 0
    watchdogInterval = isForUs && microseconds > 0 ? .microseconds(microseconds / 2) : nil
  }

  /// The policy is in force.
  func ready() { send("READY=1") }

  /// The policy is being replaced; `ready` follows.
  func reloading() { send("RELOADING=1\nMONOTONIC_USEC=\(MonotonicClock.now() / 1000)") }

  /// The daemon is on its way out.
  func stopping() { send("STOPPING=1") }

  /// All workers have answered.
  func alive() { send("WATCHDOG=1") }

  private func send(_ text: String) {
    guard let socket else { return }
    // A supervisor that does not listen is no reason to fail.
    try? UnixSocket.send(text, to: socket)
  }
}
