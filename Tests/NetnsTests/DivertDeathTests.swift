// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import Testing

extension NetnsTests {
  /// A program that diverts and is killed.
  @Suite struct DivertDeath {
    /// Beside the tests' own bundle.
    private static var holder: String {
      let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
      let folder = bundle.flatMap { $0.components(separatedBy: ".xctest").first }.map {
        URL(fileURLWithPath: $0).deletingLastPathComponent().path
      }
      return (folder ?? ".build/debug") + "/frame-holder"
    }

    @Test func `SIGKILL under load: traffic goes on by itself, and nothing is left`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let ends = [NumberedReceiver(in: "p1", "b1"), NumberedReceiver("a1")]
        defer { for end in ends { end.close() } }
        let holder = try Shell.start("\(Self.holder) a1")
        func helpers() throws -> [String] {
          try LinkDevice.all().map(\.name).filter(HelperDevices.isName)
        }
        try await expectSoon { try helpers().count == 2 }
        let isDone = Shared(false)
        let senders = [nil, "p1"].map { namespace in
          Background {
            let sender = NumberedSender(in: namespace, namespace == nil ? "a1" : "b1")
            while !isDone.value { sender.send(count: 16, pause: 2000) }
          }
        }
        // It does divert.
        let helper = try #require(try helpers().first { $0.hasPrefix("coo") })
        try await expectSoon { try Self.dropped(helper) > 100 }
        try await expectSoon { ends.allSatisfy { $0.contents.count > 1000 } }
        holder.stop()
        try await expectSoon { try helpers().isEmpty }
        let before = ends.map { $0.contents.count }
        let start = ContinuousClock.now
        try await expectSoon {
          zip(ends, before).allSatisfy { $0.contents.count > $1 + 500 }
        }
        #expect(ContinuousClock.now - start < .seconds(1) * slowness)
        isDone.change { $0 = true }
        for sender in senders { sender.join() }
        for end in ends {
          #expect(end.contents.doubled == 0)
          let missing = zip(end.contents.top, end.contents.seen).map { Int($0) - $1.count }
          // What was in the ring, some tens of milliseconds.
          #expect(missing.reduce(0, +) < 2000, "\(missing)")
        }
        #expect(try HelperDevices.abandoned().isEmpty)
      }
    }

    /// Frames that a device refused to queue.
    private static func dropped(_ name: String) throws -> Int {
      let line = try Shell.run("grep '\(name):' /proc/thread-self/net/dev")
      let columns = line.split(whereSeparator: \.isWhitespace)
      return columns.count > 12 ? Int(columns[12]) ?? 0 : 0
    }
  }
}
