// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The signals by which a program is asked to end: SIGINT and SIGTERM.
public enum EndSignals {
  /// Runs `body` on a thread of its own at the first of them; from now on they do nothing else.
  ///
  /// To be called before other threads are made, because those would still be ended by them.
  public static func handle(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
    let signals = endSignals()
    var blocked = signals
    guard unsafe pthread_sigmask(SIG_BLOCK, &blocked, nil) == 0 else {
      throw .current("block signals")
    }
    _ = try DedicatedThread(name: "signals") {
      var (signals, number) = (signals, CInt(0))
      while unsafe sigwait(&signals, &number) != 0 {}
      body()
    }
  }

  private static func endSignals() -> sigset_t {
    var signals = sigset_t()
    _ = unsafe sigemptyset(&signals)
    _ = unsafe sigaddset(&signals, SIGINT)
    _ = unsafe sigaddset(&signals, SIGTERM)
    return signals
  }
}
