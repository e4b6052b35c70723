// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Synchronization

/// A named pthread that runs one body to its end, also when nobody waits for that.
public final class DedicatedThread: Sendable {
  private let handle: Mutex<pthread_t?>

  /// Starts the thread.
  ///
  /// `name` is cut to the 15 bytes that the kernel keeps.
  public init(name: String, body: @escaping @Sendable () -> Void) throws(SystemError) {
    var thread = pthread_t()
    let job = unsafe Unmanaged.passRetained(Job(body))
    let code = unsafe pthread_create(
      &thread, nil,
      { context in
        guard let context = unsafe context else { return nil }
        unsafe Unmanaged<Job>.fromOpaque(context).takeRetainedValue().body()
        return nil
      }, job.toOpaque())
    guard code == 0 else {
      unsafe job.release()
      throw SystemError("start thread \(name)", errno: code)
    }
    var kept = name
    while kept.utf8.count > 15 { kept.removeLast() }
    _ = unsafe clx_thread_name(thread, kept)
    handle = Mutex(thread)
  }

  deinit {
    if let thread = handle.withLock({ handle in handle.take() }) { pthread_detach(thread) }
  }

  /// A number that no other running thread has.
  public static var current: UInt { UInt(pthread_self()) }

  /// Waits for the body's end.
  ///
  /// Only the first call waits.
  public func join() {
    let thread = handle.withLock { handle in handle.take() }
    if let thread { _ = pthread_join(thread, nil) }
  }

  private final class Job: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
}
