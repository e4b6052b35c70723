// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// A file of ours that survives a crash: it is replaced as a whole, and what replaces it is on the disk
/// before it does.
///
/// ```
/// write: path.new, synced ─▶ publish: renamed to path, the folder synced
///                         └▶ discard: removed
/// ```
/// Only its owner may read it. As long as this object lives no other process has it.
public final class PrivateFile: Sendable {
  /// Where it is.
  public let path: String
  private let lock: OwnedDescriptor
  private var draft: String { path + ".new" }
  private var directory: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Takes the file, whether it is there or not; its folder is made if that one alone is missing.
  ///
  /// - Throws: `EWOULDBLOCK` if another process has it.
  public init(at path: String) throws(SystemError) {
    self.path = path
    let slash = path.lastIndex(of: "/") ?? path.startIndex
    if slash > path.startIndex { try KernelFile.makeDirectory(String(path[..<slash])) }
    lock = try OwnedDescriptor(
      checking: unsafe clx_open_locked(path + ".lock"), operation: "lock \(path).lock")
  }

  /// What the file holds; nil if there is none.
  ///
  /// - Throws: `EFBIG` if it holds more than `limit` bytes, `EPERM` if others than its owner, who is
  ///   this user or root, can write it or if it is no plain file.
  public func read(limit: Int) throws(SystemError) -> [UInt8]? {
    let number = unsafe clx_open_private(path)
    if number < 0, errno == ENOENT { return nil }
    let descriptor = try OwnedDescriptor(checking: number, operation: "open \(path)")
    var (content, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 65536))
    while content.count <= limit {
      let count = unsafe chunk.withUnsafeMutableBytes { buffer in
        retryingInterrupts {
          unsafe Glibc.read(descriptor.number, buffer.baseAddress, buffer.count)
        }
      }
      guard count >= 0 else { throw .current("read \(path)") }
      if count == 0 { return content }
      content += chunk.prefix(count)
    }
    throw SystemError("read \(path)", errno: EFBIG)
  }

  /// Writes what is to replace the file; on an error nothing is left of it.
  public func write(_ content: [UInt8]) throws(SystemError) {
    let descriptor = try OwnedDescriptor(
      checking: unsafe clx_create_private(draft), operation: "create \(draft)")
    do throws(SystemError) {
      var written = 0
      while written < content.count {
        let count = retryingInterrupts {
          unsafe content.withUnsafeBytes { bytes in
            unsafe Glibc.write(
              descriptor.number, bytes.baseAddress?.advanced(by: written), bytes.count - written)
          }
        }
        guard count > 0 else { throw .current("write \(draft)") }
        written += count
      }
      guard fsync(descriptor.number) == 0 else { throw .current("sync \(draft)") }
    } catch {
      discard()
      throw error
    }
  }

  /// Puts what was written in the file's place; readers see the old content or the new one.
  public func publish() throws(SystemError) {
    let directory = try OwnedDescriptor.openDirectory(directory)
    guard unsafe rename(draft, path) == 0 else { throw .current("rename \(draft)") }
    guard fsync(directory.number) == 0 else { throw .current("sync the folder of \(path)") }
  }

  /// Removes what was written and not published.
  public func discard() { _ = unsafe unlink(draft) }
}
