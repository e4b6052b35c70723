// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// A process that has a socket open.
public struct SocketOwner: Sendable, Hashable {
  /// Its number.
  public var process: UInt32
  /// The path of its executable.
  public var path: String

  /// A process.
  public init(process: UInt32, path: String) {
    self.process = process
    self.path = path
  }

  /// Who has these sockets open, by their inode numbers, found in one walk over all processes.
  ///
  /// Of several processes it is the one of the lowest number, but the first process only where no other
  /// has the socket: it listens for those that it starts later. Milliseconds for each hundred processes.
  public static func find(_ sockets: Set<UInt32>) -> [UInt32: SocketOwner] {
    var (missing, owners) = (sockets, [UInt32: SocketOwner]())
    let processes = ProcessTable.processes
    for process in processes.filter({ $0 != 1 }) + [1] where !missing.isEmpty {
      let held = missing.intersection(ProcessTable.sockets(of: process))
      guard !held.isEmpty, let path = ProcessTable.executable(of: process) else { continue }
      for socket in held { owners[socket] = SocketOwner(process: process, path: path) }
      missing.subtract(held)
    }
    return owners
  }
}
