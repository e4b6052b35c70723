// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// Small text files that the kernel makes up as they are read.
public enum KernelFile {
  /// More than any of them holds: a bound against reading without end.
  private static let limit = 1 << 22

  /// The text of a file; nil if there is none of that name.
  public static func text(_ path: String) throws(SystemError) -> String? {
    let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
    if number < 0, errno == ENOENT || errno == ESRCH { return nil }
    let descriptor = try OwnedDescriptor(checking: number, operation: "open \(path)")
    var (content, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 65536))
    while content.count < limit {
      let count = unsafe chunk.withUnsafeMutableBytes { buffer in
        retryingInterrupts { unsafe read(descriptor.number, buffer.baseAddress, buffer.count) }
      }
      guard count >= 0 else { throw .current("read \(path)") }
      if count == 0 { break }
      content += chunk.prefix(count)
    }
    return String(decoding: content, as: UTF8.self)
  }

  /// Makes a directory that everybody may read, unless it is there.
  public static func makeDirectory(_ path: String) throws(SystemError) {
    guard unsafe mkdir(path, 0o755) != 0, errno != EEXIST else { return }
    throw .current("make directory \(path)")
  }

  /// Replaces a small file as a whole: readers see the old text or the new one.
  public static func replace(_ path: String, with text: String) throws(SystemError) {
    let draft = path + ".new"
    let descriptor = try OwnedDescriptor(
      checking: unsafe clx_create(draft, 0o644), operation: "create \(draft)")
    let bytes = Array(text.utf8)
    let written = unsafe bytes.withUnsafeBytes { buffer in
      retryingInterrupts { unsafe write(descriptor.number, buffer.baseAddress, buffer.count) }
    }
    guard written == bytes.count, unsafe rename(draft, path) == 0 else {
      throw .current("write \(path)")
    }
  }

  /// True if this process may run the file.
  public static func isExecutable(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }
}
