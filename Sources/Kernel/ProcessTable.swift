// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The running processes, as far as this one may look at them (`CAP_SYS_PTRACE` and
/// `CAP_DAC_READ_SEARCH` for those of others).
public enum ProcessTable {
  /// The numbers of all processes, lowest first.
  public static var processes: [UInt32] {
    var numbers: [UInt32] = []
    unsafe eachName(in: "/proc") { name, _ in
      if let number = unsafe UInt32(String(cString: name)) { numbers.append(number) }
    }
    return numbers.sorted()
  }

  /// The inode numbers of the sockets that a process has open; none if it has gone, or is not ours to
  /// look at.
  public static func sockets(of process: UInt32) -> [UInt32] {
    var sockets: [UInt32] = []
    unsafe eachName(in: "/proc/\(process)/fd") { name, directory in
      // More than "socket:[4294967295]".
      let target = unsafe target(upTo: 32) { unsafe readlinkat(directory, name, $0, $1) }
      if let inode = inode(target) { sockets.append(inode) }
    }
    return sockets
  }

  /// The path of a process' executable, without the kernel's note that it has been deleted; nil if the
  /// process has gone, has none, or is not ours to look at.
  public static func executable(of process: UInt32) -> String? {
    let target = unsafe target(upTo: 4096) { unsafe readlink("/proc/\(process)/exe", $0, $1) }
    guard !target.isEmpty else { return nil }
    let path = String(decoding: target, as: UTF8.self)
    let note = " (deleted)"
    return path.hasSuffix(note) ? String(path.dropLast(note.count)) : path
  }

  /// Whether this process may look at all others.
  public static var isAllToBeSeen: Bool {
    Capability.sysPtrace.isEffective && Capability.dacReadSearch.isEffective
  }

  /// The number in "socket:[17]".
  private static func inode(_ target: [UInt8]) -> UInt32? {
    let prefix = Array("socket:[".utf8)
    guard target.starts(with: prefix), target.last == UInt8(ascii: "]") else { return nil }
    return UInt32(String(decoding: target.dropFirst(prefix.count).dropLast(), as: UTF8.self))
  }

  /// What a call that reads a symbolic link gives; nothing if it fails.
  private static func target(
    upTo limit: Int, _ read: (UnsafeMutablePointer<CChar>, Int) -> Int
  ) -> [UInt8] {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: limit) { buffer in
      guard let start = buffer.baseAddress else { return [] }
      let length = unsafe min(max(read(start, limit), 0), limit)
      return unsafe buffer.prefix(length).map { UInt8(bitPattern: $0) }
    }
  }

  /// Calls `body` with the name of each entry of a directory and the directory's descriptor.
  private static func eachName(
    in path: String, _ body: (UnsafePointer<CChar>, CInt) -> Void
  ) {
    guard let directory = unsafe opendir(path) else { return }
    defer { unsafe closedir(directory) }
    let number = unsafe dirfd(directory)
    while let entry = unsafe readdir(directory) {
      unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
        // Safe because the kernel ends the name with a 0 within the member.
        unsafe name.withMemoryRebound(
          to: CChar.self, capacity: MemoryLayout.size(ofValue: name.pointee)
        ) { unsafe body($0, number) }
      }
    }
  }
}
