// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The bytes of a file, a pipe or an array, from the first to the last.
public struct ByteStream: ~Copyable, Sendable {
  private let path: String
  private let descriptor: OwnedDescriptor?
  private let number: CInt?
  private var buffer: [UInt8]
  private var start = 0
  /// How many bytes have been taken.
  public private(set) var position: UInt64 = 0

  /// The bytes of a file; "-" is standard input.
  public init(at path: String) throws(SystemError) {
    self.path = path
    buffer = []
    let descriptor = try OwnedDescriptor(
      checking: path == "-"
        ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : unsafe open(path, O_RDONLY | O_CLOEXEC),
      operation: "open \(path)")
    number = descriptor.number
    self.descriptor = consume descriptor
  }

  /// These bytes.
  public init(_ bytes: [UInt8]) {
    path = ""
    buffer = bytes
    descriptor = nil
    number = nil
  }

  /// Takes the next `count` bytes; fewer, or none, at the end.
  public mutating func take(_ count: Int) throws(SystemError) -> [UInt8] {
    while buffer.count - start < count, try fill() {}
    let bytes = Array(buffer[start..<start + min(max(0, count), buffer.count - start)])
    start += bytes.count
    position += UInt64(bytes.count)
    return bytes
  }

  /// Takes the next line without its newline, nil at the end.
  ///
  /// Of a line that is longer than `limit` bytes it takes the first `limit + 1`.
  public mutating func takeLine(limit: Int) throws(SystemError) -> [UInt8]? {
    let most = max(0, limit) + 1
    var searched = 0
    while true {
      let waiting = buffer[start...].prefix(most)
      if let end = waiting.dropFirst(searched).firstIndex(of: UInt8(ascii: "\n")) {
        let line = try take(end - start)
        _ = try take(1)
        return line
      }
      searched = waiting.count
      if searched == most { return try take(most) }
      if try !fill() { return searched == 0 ? nil : try take(searched) }
    }
  }

  /// Reads more; false at the end.
  private mutating func fill() throws(SystemError) -> Bool {
    guard let number else { return false }
    buffer.removeFirst(start)
    start = 0
    var chunk = [UInt8](repeating: 0, count: 65536)
    let count = unsafe chunk.withUnsafeMutableBytes { bytes in
      retryingInterrupts { unsafe read(number, bytes.baseAddress, bytes.count) }
    }
    guard count >= 0 else { throw .current("read \(path)") }
    buffer += chunk[..<count]
    return count > 0
  }
}
