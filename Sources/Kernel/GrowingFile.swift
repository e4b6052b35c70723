// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// A file that grows record by record; each is in it whole or, on an error, not at all.
public struct GrowingFile: ~Copyable {
  private let path: String
  private let descriptor: OwnedDescriptor
  /// The length of what is whole; nil for standard output, which may hold what others wrote.
  private var length: off_t?

  /// Begins anew what is at `path`, which only its owner may read if it is made; "-" is standard
  /// output.
  ///
  /// A pipe or a device is written to, not replaced.
  public init(at path: String) throws(SystemError) {
    self.path = path
    length = path == "-" ? nil : 0
    descriptor = try OwnedDescriptor(
      checking: path == "-" ? dup(STDOUT_FILENO) : unsafe clx_create(path, 0o600),
      operation: "open \(path)")
  }

  /// Adds a record.
  public mutating func append(_ record: [UInt8]) throws(SystemError) {
    let number = descriptor.number
    var written = 0
    while written < record.count {
      let count = retryingInterrupts {
        unsafe record.withUnsafeBytes { bytes in
          unsafe write(number, bytes.baseAddress?.advanced(by: written), bytes.count - written)
        }
      }
      guard count > 0 else {
        let error = SystemError.current("write \(path)")
        // Neither is possible, nor needed, where there is no length.
        if let length, ftruncate(number, length) == 0 { lseek(number, length, SEEK_SET) }
        throw error
      }
      written += count
    }
    length = length.map { $0 + off_t(record.count) }
  }
}
