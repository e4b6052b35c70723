// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import Testing

extension NetnsTests {
  /// What the frame path takes from the heap.
  @Suite(
    .diverts,
    .enabled(if: FrameHolder.compiler != nil, "needs a C compiler for a counting malloc"))
  struct DivertAllocation {
    @Test func `no frame is paid for with an allocation`() async throws {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run("ip link set a1 mtu 9000; ip -n p1 link set b1 mtu 9000")
        let folder = FileManager.default.temporaryDirectory.path + "/callout-\(getpid())"
        try Shell.run(
          """
          mkdir -p \(folder)
          \(FrameHolder.compiler ?? "") -O2 -shared -fPIC -o \(folder)/count.so \
            \(FrameHolder.root)/Sources/Benchmarks/malloc-count.c
          """)
        defer { _ = try? Shell.run("rm -rf \(folder)") }
        let holder = try Shell.start(
          "env LD_PRELOAD=\(folder)/count.so ALLOC_COUNT_FILE=\(folder)/counts "
            + FrameHolder.command("a1"))
        defer { holder.stop() }
        try await expectSoon { try FrameHolder.helpers().count == 2 }
        let away = FrameTap("a1")
        let home = FrameTap(in: "p1", "b1")
        defer {
          away.close()
          home.close()
        }
        func exchange(_ count: Int) async throws {
          let before = (away.count, home.count)
          for number in 0..<count {
            let size = number % 50 == 0 ? 9014 : 100
            away.send(experiment(size: size))
            home.send(experiment(to: Ends.host, from: Ends.peer, size: size))
          }
          try await expectSoon {
            away.count == before.0 + count && home.count == before.1 + count
          }
        }
        try await expectSoon {
          try await exchange(100)
          return try FrameHolder.helpers().allSatisfy { try FrameHolder.refused($0) > 100 }
        }
        let counts = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/counts"))
        #expect(counts.contains { $0 != 0 })
        try await exchange(5000)
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/counts")) == counts)
      }
    }
  }
}
