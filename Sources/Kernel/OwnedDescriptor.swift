// SPDX-License-Identifier: Apache-2.0

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

  /// Gives the descriptor up without closing it.
  public consuming func release() -> CInt {
    let number = number
    discard self
    return number
  }

  deinit { _ = close(number) }
}
