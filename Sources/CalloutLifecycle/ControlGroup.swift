// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// One of the second version's control groups.
final class ControlGroup: Sendable {
  let descriptor: OwnedDescriptor

  private init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

  /// Opens the root, at which every socket of the machine is met.
  static func openRoot() throws(SystemError) -> ControlGroup {
    if let root = root(in: try KernelFile.text("/proc/thread-self/mountinfo") ?? "") {
      return ControlGroup(try .openDirectory(root))
    }
    // As under `ip netns exec`, which lays another /sys over the mounts.
    return ControlGroup(try .openControlGroups())
  }

  /// Where the whole of it is mounted, according to lines such as
  /// `41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw`.
  static func root(in mounts: String) -> String? {
    for line in mounts.split(separator: "\n") {
      let columns = line.split(separator: " ")
      guard let dash = columns.firstIndex(of: "-"), dash > 4, columns.count > dash + 1,
        columns[dash + 1] == "cgroup2", columns[3] == "/"
      else { continue }
      return decoded(columns[4])
    }
    return nil
  }

  /// Blanks and the like are written as `\040`.
  private static func decoded(_ path: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = path.utf8[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
