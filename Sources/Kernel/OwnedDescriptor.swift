// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// A file descriptor with one owner; closed when the owner goes.
public struct OwnedDescriptor: ~Copyable, Sendable {
  /// The number, valid as long as this value lives.
  public let number: CInt

  /// Takes over an open descriptor.
  public init(owning number: CInt) {
    self.number = number
  }

  /// Takes over what a system call returned, or throws the current `errno`.
  public init(checking number: CInt, operation: String) throws(SystemError) {
    guard number >= 0 else { throw .current(operation) }
    self.init(owning: number)
  }

  /// Opens a directory.
  public static func openDirectory(_ path: String) throws(SystemError) -> OwnedDescriptor {
    try OwnedDescriptor(
      checking: unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), operation: "open \(path)")
  }

  /// Opens the root of the second version's control groups, mounted here or not.
  ///
  /// Needs CAP_SYS_ADMIN.
  public static func openControlGroups() throws(SystemError) -> OwnedDescriptor {
    try OwnedDescriptor(checking: clx_open_cgroup_root(), operation: "mount cgroup2 for ourselves")
  }

  /// Gives the descriptor up without closing it.
  public consuming func release() -> CInt {
    let number = number
    discard self
    return number
  }

  deinit { _ = close(number) }
}
