// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// A system call that failed: what was attempted and what the kernel said.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The attempted operation, as a reader would name it ("bind queue 31000").
  public let operation: String
  /// The kernel's answer, an `errno` value.
  public let errno: CInt

  /// An error with an explicit `errno` value.
  public init(_ operation: String, errno: CInt) {
    self.operation = operation
    self.errno = errno
  }

  /// An error from the calling thread's current `errno`.
  public static func current(_ operation: String) -> SystemError {
    SystemError(operation, errno: Glibc.errno)
  }

  /// "operation: the kernel's text".
  public var description: String { "\(operation): \(Self.text(for: errno))" }

  /// The C library's text for an `errno` value.
  public static func text(for errno: CInt) -> String {
    guard let text = unsafe strerror(errno) else { return "error \(errno)" }
    return unsafe String(cString: text)
  }
}

/// Repeats a call that was interrupted by a signal.
@inlinable
package func retryingInterrupts<Result: FixedWidthInteger>(_ call: () -> Result) -> Result {
  while true {
    let result = call()
    if result != -1 || errno != EINTR { return result }
  }
}
