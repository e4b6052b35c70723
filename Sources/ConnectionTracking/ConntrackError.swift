// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// Why the kernel's connections could not be read or changed.
public enum ConntrackError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The kernel tracks no such connection; its first packet may still be on its way.
  case notFound
  /// A call failed; `EPERM` asks for CAP_NET_ADMIN.
  case system(SystemError)
  /// The kernel refused a request.
  case refused(operation: String, errno: Int32)
  /// What the kernel answered is no answer.
  case malformedAnswer

  /// One line that says what to do about it.
  public var description: String {
    switch self {
    case .notFound: "no such connection is tracked"
    case .system(let error): "\(error)"
    case .refused(let operation, let errno):
      "\(operation): \(SystemError.text(for: errno))"
        + (errno == 1 ? " (needs CAP_NET_ADMIN)" : "")
    case .malformedAnswer: "the kernel's answer about connections cannot be read"
    }
  }
}
