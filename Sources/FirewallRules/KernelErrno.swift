// SPDX-License-Identifier: Apache-2.0

import Glibc
import Kernel

/// What the kernel's error numbers mean for rules.
enum KernelErrno {
  /// The numbers by which nf_tables says "no such expression, target or family here".
  static let absences: Set<Int32> = [ENOENT, EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT]

  /// What to do about `number`, in brackets, or nothing.
  static func remedy(_ number: Int32) -> String {
    switch number {
    case EPERM, EACCES: " (needs CAP_NET_ADMIN)"
    case ENOENT: " (the kernel lacks this expression, or the object is gone)"
    case EOPNOTSUPP: " (not supported by this kernel here)"
    case EBUSY: " (in use by other rules)"
    default: ""
    }
  }
}

extension RuleError {
  /// The text of one of the kernel's files; nil if there is none of that name.
  static func text(of path: String) throws(RuleError) -> String? {
    do {
      return try KernelFile.text(path)
    } catch {
      throw .unreadable(path: path, errno: error.errno)
    }
  }
}
