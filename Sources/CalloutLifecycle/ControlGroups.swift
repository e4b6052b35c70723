// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// The second version's control groups, at whose root every socket of the machine is met.
enum ControlGroups {
  /// Opens the root that is mounted here.
  static func openRoot() throws(SystemError) -> OwnedDescriptor {
    let mounts = try KernelFile.text("/proc/thread-self/mounts") ?? ""
    for line in mounts.split(separator: "\n") {
      let columns = line.split(separator: " ")
      guard columns.count > 2, columns[2] == "cgroup2" else { continue }
      return try OwnedDescriptor.openDirectory(String(columns[1]))
    }
    throw SystemError("find a cgroup2 mount", errno: 2)
  }
}
