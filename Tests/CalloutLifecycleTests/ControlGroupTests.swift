// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CalloutLifecycle

@Suite struct ControlGroupTests {
  @Test func `the mount that holds the whole hierarchy is taken`() {
    let mounts = """
      30 25 0:26 / /sys/fs/cgroup/old rw - cgroup cgroup rw,memory
      40 25 0:38 /machine /srv/box/cgroup rw,relatime - cgroup2 cgroup2 rw
      41 31 0:38 / /sys/fs/my\\040groups\\134x rw,relatime shared:4 master:1 - cgroup2 cgroup2 rw
      """
    #expect(ControlGroup.root(in: mounts) == "/sys/fs/my groups\\x")
  }

  @Test(arguments: [
    "", "41 31", "- cgroup2", "41 31 0:38 / /x rw -", "41 31 0:38 /a /x rw - cgroup2",
  ])
  func `lines of other shapes name none`(mounts: String) {
    #expect(ControlGroup.root(in: mounts) == nil)
  }
}
