// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Runs other programs for tests.
public enum Shell {
  /// A command line that failed.
  public struct Failure: Error, CustomStringConvertible {
    /// The command line, its status and what it printed.
    public let description: String
  }

  /// Runs a command line of `sh` and returns what it printed; throws if it fails.
  @discardableResult
  public static func run(_ line: String) throws -> String {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0, fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0,
      fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0
    else { throw Failure(description: "no pipe") }
    let child = spawnShell(["-ec", line], output: ends[1])
    close(ends[1])
    let text = String(
      decoding: FileHandle(fileDescriptor: ends[0], closeOnDealloc: true).readDataToEndOfFile(),
      as: UTF8.self)
    let status = child > 0 ? awaitExit(child) : -1
    guard status == 0 else {
      throw Failure(description: "`\(line)` failed with \(status): \(text)")
    }
    return text
  }

  /// Starts a command line that goes on in the background until `stop`.
  public static func start(_ line: String) throws -> BackgroundProcess {
    try BackgroundProcess(line)
  }
}

/// A program that runs beside a test.
public final class BackgroundProcess {
  /// The process id.
  public let identifier: Int32
  private var isRunning = true

  init(_ line: String) throws {
    identifier = spawnShell(["-c", "exec \(line)"], output: nil)
    guard identifier > 0 else { throw Shell.Failure(description: "cannot start `\(line)`") }
  }

  /// Waits until the program ends by itself.
  public func wait() {
    guard isRunning else { return }
    isRunning = false
    _ = awaitExit(identifier)
  }

  /// Ends the program and waits for its end.
  public func stop() {
    guard isRunning else { return }
    isRunning = false
    kill(identifier, SIGKILL)
    _ = awaitExit(identifier)
  }

  deinit { stop() }
}

/// Starts `sh`; 0 if it cannot be.
///
/// Foundation's `Process` now and then misses that its child has ended, and then waits for ever.
private func spawnShell(_ arguments: [String], output: Int32?) -> Int32 {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)
  if let output {
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, output, 2)
  } else {
    posix_spawn_file_actions_adddup2(&actions, 0, 1)
    posix_spawn_file_actions_adddup2(&actions, 0, 2)
  }
  // The threads of tests block signals, and a shell that inherits that waits for ever with `wait`.
  var (attributes, none) = (posix_spawnattr_t(), sigset_t())
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  sigemptyset(&none)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
  var words: [UnsafeMutablePointer<CChar>?] = (["sh"] + arguments).map { strdup($0) }
  words.append(nil)
  defer { for word in words { free(word) } }
  var child: pid_t = 0
  return posix_spawn(&child, "/bin/sh", &actions, &attributes, words, environ) == 0 ? child : 0
}

private func awaitExit(_ child: Int32) -> Int32 {
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0, errno == EINTR {}
  return status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f)
}

/// How much slower this machine is than those that the tests' deadlines were made for.
///
/// `CALLOUT_SLOWNESS`, 1 without it.
public let slowness =
  ProcessInfo.processInfo.environment["CALLOUT_SLOWNESS"].flatMap { Int($0) } ?? 1

/// Waits until a condition holds; false if it does not before the deadline.
public func eventually(
  within patience: Duration = .seconds(10), _ condition: () async throws -> Bool
) async rethrows -> Bool {
  let deadline = ContinuousClock.now + patience * slowness
  while ContinuousClock.now < deadline {
    if try await condition() { return true }
    try? await Task.sleep(for: .milliseconds(2))
  }
  return try await condition()
}
