// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A network namespace, as programs inside the kernel know it.
public struct NetworkNamespace: Sendable, Hashable {
  /// Its inode in nsfs.
  public let inode: UInt32

  /// That of the calling thread.
  public static func current() throws(SystemError) -> NetworkNamespace {
    var inode: UInt32 = 0
    guard unsafe clx_network_namespace(&inode) == 0 else {
      throw .current("tell the network namespace")
    }
    return NetworkNamespace(inode: inode)
  }
}
