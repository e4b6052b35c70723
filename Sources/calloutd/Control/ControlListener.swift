// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import Kernel

/// The bound control socket and its file.
final class ControlListener: Sendable {
  private let descriptor: OwnedDescriptor
  private let path: String

  /// Binds the socket; fails if another daemon answers on it.
  init(at path: String) throws(ControlSocketError) {
    do {
      descriptor = try UnixSocket.listen(at: path)
    } catch {
      throw ControlSocketError(path: path, error: error)
    }
    self.path = path
  }

  /// The listening socket, which does not block.
  var number: CInt { descriptor.number }

  /// Removes the socket's file.
  func close() { UnixSocket.removeFile(at: path) }
}

/// Why there is no control socket.
struct ControlSocketError: Error, CustomStringConvertible {
  var path: String
  var error: SystemError

  var description: String {
    switch error.errno {
    case EADDRINUSE where UnixSocket.isSocket(at: path):
      "control socket \(path): another calloutd holds it; stop that one or give another path by "
        + "--socket"
    case EADDRINUSE:
      "control socket \(path): there is a file that is no socket; remove it or give another path "
        + "by --socket"
    case EACCES, EPERM: "control socket \(path): not permitted; run as root or give --socket"
    default: "control socket \(path): \(error); give another path by --socket"
    }
  }
}
