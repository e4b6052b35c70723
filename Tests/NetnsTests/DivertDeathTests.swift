// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import Testing

extension NetnsTests {
  /// A program that diverts and is killed.
  @Suite(.diverts) struct DivertDeath {
    @Test func `SIGKILL under load: traffic goes on by itself, and nothing is left`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let ends = [NumberedReceiver(in: "p1", "b1"), NumberedReceiver("a1")]
        defer { for end in ends { end.close() } }
        let holder = try Shell.start(FrameHolder.command("a1"))
        try await expectSoon { try FrameHolder.helpers().count == 2 }
        let isDone = Shared(false)
        let senders = [nil, "p1"].map { namespace in
          Background {
            let sender = NumberedSender(in: namespace, namespace == nil ? "a1" : "b1")
            while !isDone.value { sender.send(count: 16, pause: 2000) }
          }
        }
        // It does divert.
        let helper = try #require(try FrameHolder.helpers().first { $0.hasPrefix("coo") })
        try await expectSoon { try FrameHolder.refused(helper) > 100 }
        try await expectSoon { ends.allSatisfy { $0.contents.count > 1000 } }
        holder.stop()
        try await expectSoon { try FrameHolder.helpers().isEmpty }
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
        let isClsact = EachAttachment.current == .clsact
        #expect(try Shell.run("tc qdisc show dev a1").contains("clsact") == isClsact)
        #expect(try AbandonedFilters.remove() == (isClsact ? ["a1 inbound", "a1 outbound"] : []))
        #expect(try !Shell.run("tc qdisc show dev a1").contains("clsact"))
        #expect(try AbandonedFilters.remove().isEmpty)
      }
    }
  }
}
