// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import Testing

extension NetnsTests {
  /// A reader that falls behind, and diverts that come and go under load.
  @Suite(.diverts) struct DivertLoad {
    @Test(arguments: FrameFailurePolicy.allCases)
    func `beyond the limit frames pass or are dropped, all of them counted`(
      _ policy: FrameFailurePolicy
    ) async throws {
      try await withTopology { topology in
        try topology.silence()
        let divert = try Diversion("a1", .outbound, policy: policy, slots: 1024)
        divert.slowDown(microseconds: 20_000)
        let to = NumberedReceiver(in: "p1", "b1")
        defer { to.close() }
        NumberedSender("a1", isPatient: false).send(count: 20_000)
        try await expectSoon {
          let counters = try divert.counters
          return counters.tally.received == counters.landed
            && counters.landed + counters.overloaded >= 20_000
        }
        divert.slowDown(microseconds: 0)
        let counters = try divert.stop()
        #expect(counters.overloaded > 0)
        #expect(counters.ringLosses == 0 && counters.truncated == 0)
        #expect(counters.diverted + counters.overloaded == 20_000)
        let arrivals = policy == .permit ? 20_000 : Int(counters.diverted)
        try await expectSoon { to.contents.count == arrivals }
        #expect(to.contents.doubled == 0)
        expectAccounting(counters)
      }
    }

    @Test func `frames that find the ring full are counted`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let divert = try Diversion("a1", .outbound, slots: 128, limit: .max)
        divert.slowDown(microseconds: 20_000)
        let to = NumberedReceiver(in: "p1", "b1")
        defer { to.close() }
        NumberedSender("a1").send(count: 5000)
        try await expectSoon {
          let counters = try divert.counters
          return counters.landed == 5000 && counters.tally.received + counters.ringLosses == 5000
        }
        divert.slowDown(microseconds: 0)
        let counters = try divert.stop()
        #expect(counters.ringLosses > 1000 && counters.tally.forcedRemovals == 0)
        try await expectSoon { to.contents.count == Int(counters.tally.permitted) }
        #expect(to.contents.late == 0 && to.contents.doubled == 0)
        expectAccounting(counters)
      }
    }

    @Test func `a reader that is too slow to be taken down in a second: counted, nothing lost`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let divert = try Diversion("a1", .outbound)
        let to = NumberedReceiver(in: "p1", "b1")
        defer { to.close() }
        divert.slowDown(microseconds: 100_000)
        let sender = NumberedSender("a1")
        sender.send(count: 2500)
        divert.want(false)
        // Others overtake what waits, once the deadline has passed.
        try await expectSoon { divert.phase == .closing || divert.phase == .detached }
        sender.send(count: 100)
        divert.slowDown(microseconds: 0)
        let counters = try divert.stop()
        #expect(counters.tally.forcedRemovals == 1 && counters.tally.overtaken > 0)
        try await expectSoon { to.contents.count == 2600 }
        #expect(to.contents.isComplete && to.contents.doubled == 0)
        #expect(to.contents.late <= Int(counters.tally.overtaken))
        expectAccounting(counters)
      }
    }

    @Test func `fifty times added and removed under load: nothing is lost, doubled or overtaken`()
      async throws
    {
      try await withTopology { _ in
        let inbound = try Diversion("a1", .inbound, slots: 32768)
        let outbound = try Diversion("a1", .outbound, slots: 32768)
        let ends = [NumberedReceiver(in: "p1", "b1"), NumberedReceiver("a1")]
        defer { for end in ends { end.close() } }
        let isDone = Shared(false)
        let senders = [
          Background {
            let sender = NumberedSender("a1")
            while !isDone.value { sender.send(count: 64, pause: 4000) }
          },
          Background {
            let sender = NumberedSender(in: "p1", "b1")
            while !isDone.value { sender.send(count: 64, pause: 4000) }
          },
        ]
        for _ in 0..<50 {
          for each in [inbound, outbound] { each.want(false) }
          try await expectSoon { inbound.phase == .detached && outbound.phase == .detached }
          for each in [inbound, outbound] { each.want(true) }
          try await expectSoon { inbound.phase == .attached && outbound.phase == .attached }
          let before = [
            try inbound.counters.tally.permitted, try outbound.counters.tally.permitted,
          ]
          try await expectSoon {
            let now = [try inbound.counters.tally.permitted, try outbound.counters.tally.permitted]
            return now[0] > before[0] && now[1] > before[1]
          }
        }
        isDone.change { $0 = true }
        for sender in senders { sender.join() }
        for divert in [inbound, outbound] {
          let counters = try divert.stop()
          expectAccounting(counters)
          #expect(counters.tally.forcedRemovals == 0 && counters.tally.overtaken == 0)
          #expect(counters.overloaded == 0 && counters.ringLosses == 0)
          #expect(counters.tally.strayed == 0)
        }
        for end in ends {
          try await expectSoon { end.contents.isComplete }
          #expect(end.contents.doubled == 0 && end.contents.late == 0, "\(end.contents)")
          #expect(end.contents.count > 10_000)
        }
      }
    }
  }
}
