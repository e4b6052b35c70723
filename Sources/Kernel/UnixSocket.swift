// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// Unix sockets by path: what a control socket and its clients need.
public enum UnixSocket {
  /// Listens at `path`, without blocking; only the owner may connect.
  ///
  /// The parent directory is made if it is missing. A socket file on which nobody answers is
  /// replaced; anything else at `path` is an error.
  public static func listen(at path: String) throws(SystemError) -> OwnedDescriptor {
    let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    if !parent.isEmpty, unsafe mkdir(parent, 0o755) == -1, errno != EEXIST {
      throw .current("make directory \(parent)")
    }
    do {
      return try bind(path)
    } catch {
      guard error.errno == EADDRINUSE, unsafe clx_is_socket(path) else { throw error }
      let number = unsafe clx_unix_connect(path, CInt(SOCK_STREAM.rawValue))
      if number >= 0 {
        _ = close(number)
        throw error
      }
      guard errno == ECONNREFUSED, unsafe unlink(path) == 0 else { throw error }
      return try bind(path)
    }
  }

  private static func bind(_ path: String) throws(SystemError) -> OwnedDescriptor {
    try OwnedDescriptor(
      checking: unsafe clx_unix_listen(path, 0o600), operation: "listen on \(path)")
  }

  /// Removes the socket file at `path`; nothing else is ever removed.
  public static func removeFile(at path: String) {
    if unsafe clx_is_socket(path) { _ = unsafe unlink(path) }
  }

  /// Whether there is a socket file at `path`.
  public static func isSocket(at path: String) -> Bool { unsafe clx_is_socket(path) }

  /// The user at the other end of a connected socket.
  public static func peerUser(of descriptor: CInt) -> UInt32? {
    UInt32(exactly: clx_peer_user(descriptor))
  }

  /// Keeps a descriptor from the programs that this one starts.
  public static func closeOnExec(_ descriptor: CInt) {
    _ = clx_close_on_exec(descriptor)
  }

  /// Sends one datagram to `path`; a leading "@" names an abstract address.
  public static func send(_ text: String, to path: String) throws(SystemError) {
    let socket = try OwnedDescriptor(
      checking: unsafe clx_unix_connect(path, CInt(SOCK_DGRAM.rawValue)),
      operation: "connect to \(path)")
    var text = text
    let sent = text.withUTF8 { bytes in
      unsafe clx_send_quietly(socket.number, bytes.baseAddress, bytes.count)
    }
    guard sent >= 0 else { throw .current("send to \(path)") }
  }

  /// A write to a closed pipe or socket becomes an error instead of the process' end.
  public static func ignoreBrokenPipes() { clx_ignore_broken_pipes() }
}

/// A blocking connection to a Unix socket that carries lines.
public struct LineConnection: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor
  private var buffer: [UInt8] = []
  private var chunk = [UInt8](repeating: 0, count: 65536)

  /// Connects to `path`.
  public init(to path: String) throws(SystemError) {
    descriptor = try OwnedDescriptor(
      checking: unsafe clx_unix_connect(path, CInt(SOCK_STREAM.rawValue)),
      operation: "connect to \(path)")
  }

  /// Sends a line; the newline is added.
  public func send(_ line: [UInt8]) throws(SystemError) {
    let bytes = line + [UInt8(ascii: "\n")]
    var sent = 0
    while sent < bytes.count {
      let count = retryingInterrupts {
        unsafe bytes.withUnsafeBytes { buffer in
          unsafe clx_send_quietly(
            descriptor.number, buffer.baseAddress?.advanced(by: sent), buffer.count - sent)
        }
      }
      guard count > 0 else { throw .current("send a request") }
      sent += count
    }
  }

  /// The next line without its newline; nil at the end.
  public mutating func receive() throws(SystemError) -> [UInt8]? {
    var searched = 0
    while true {
      if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(buffer[..<end])
        buffer.removeFirst(end + 1)
        return line
      }
      searched = buffer.count
      let number = descriptor.number
      let count = retryingInterrupts {
        unsafe chunk.withUnsafeMutableBytes { bytes in
          unsafe read(number, bytes.baseAddress, bytes.count)
        }
      }
      // A peer that closes before it has read everything resets; what it said has come by then.
      guard count >= 0 || errno == ECONNRESET else { throw .current("read an answer") }
      guard count > 0 else {
        if buffer.isEmpty { return nil }
        defer { buffer = [] }
        return buffer
      }
      buffer += chunk[..<count]
    }
  }
}
