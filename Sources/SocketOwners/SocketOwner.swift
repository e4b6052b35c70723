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
  /// Of several processes of one program it is the one of the lowest number; a socket of several
  /// programs has none, since any of them may be the one that sends. The first process counts only where
  /// no other has the socket: it listens for those that it starts later. Milliseconds for each hundred
  /// processes.
  public static func find(_ sockets: Set<UInt32>) -> [UInt32: SocketOwner] {
    var (owners, shared) = ([UInt32: SocketOwner](), Set<UInt32>())
    for process in ProcessTable.processes where process != 1 {
      let held = sockets.intersection(ProcessTable.sockets(of: process))
      guard !held.isEmpty else { continue }
      // One that may not be seen is another program.
      let path = ProcessTable.executable(of: process)
      for socket in held {
        guard let path, path == owners[socket]?.path ?? path else {
          shared.insert(socket)
          continue
        }
        if owners[socket] == nil { owners[socket] = SocketOwner(process: process, path: path) }
      }
    }
    let others = sockets.subtracting(owners.keys).subtracting(shared)
    if !others.isEmpty, let path = ProcessTable.executable(of: 1) {
      for socket in others.intersection(ProcessTable.sockets(of: 1)) {
        owners[socket] = SocketOwner(process: 1, path: path)
      }
    }
    return owners.filter { !shared.contains($0.key) }
  }
}
