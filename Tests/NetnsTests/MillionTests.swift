// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Synchronization
import Testing

extension NetnsTests {
  /// A million packets, each with a context of its own; `CALLOUT_MILLION` sets another number.
  @Suite struct Million {
    private static let count =
      ProcessInfo.processInfo.environment["CALLOUT_MILLION"].flatMap { Int($0) } ?? 1_000_000

    private final class Tally: Sendable {
      let wrong = Atomic<Int>(0)
      let retrieved = Atomic<Int>(0)
      let foreign = Atomic<Int>(0)
      let refused = Atomic<Int>(0)
    }

    private static let foreign: UInt32 = 0x8000_00a5

    @Test(arguments: FailurePolicy.allCases)
    func `20 handle bits: no handle is refused, no context is wrong`(_ failure: FailurePolicy)
      async throws
    {
      let (tagging, tally) = try await flood(failure, mask: wideMask)
      #expect(tagging.handlesRefused == 0)
      #expect(tally.refused.load(ordering: .relaxed) == 0)
    }

    @Test func `10 handle bits: handles are refused, no context is wrong`() async throws {
      let (tagging, _) = try await flood(.permit, mask: 0x000f_ff00)
      #expect(tagging.handlesRefused > 0)
    }

    @Test func `Observed: all end as what they became, within two seconds, hardly any as lost`()
      async throws
    {
      let (tagging, _) = try await flood(
        .permit, mask: wideMask, lifecycle: .automatic, endingWithin: .seconds(2))
      #expect(tagging.ended(.lost) < tagging.ended / 10_000)
      #expect(tagging.ended(.transmitted) > tagging.ended / 2)
      #expect(tagging.ended(.released) == 0)
    }

    private func flood(
      _ failure: FailurePolicy, mask: UInt32,
      lifecycle: BridgeConfiguration.LifecycleChoice = .verdicts,
      endingWithin patience: Duration = .seconds(30)
    ) async throws -> (TaggingCounters, Tally) {
      let tally = Tally()
      var counters = TaggingCounters()
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge {
          $0.failurePolicy = failure
          $0.mark = .mask(mask)
          $0.lifecycle = lifecycle
        }
        let tag = bridge.makeTag(named: "t")
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            guard packet.layout.destinationPort == 7 else { return }
            if packet.metadata.mark & ~mask != Self.foreign {
              tally.foreign.add(1, ordering: .relaxed)
            }
            if packet.layer == .outboundTransportV4 {
              if (try? out.associate(packet.sequence, with: tag)) == nil {
                tally.refused.add(1, ordering: .relaxed)
              }
            } else if let context = try? out.retrieve(tag) {
              tally.retrieved.add(1, ordering: .relaxed)
              if context != packet.sequence { tally.wrong.add(1, ordering: .relaxed) }
            }
          }
        ) {
          let receiver = Receiver(in: "p1", keeping: false)
          let sender = Sender(to: "10.9.1.2", mark: Self.foreign)
          let taken = sender.send(count: Self.count)
          let isEnded = try await eventually(within: patience) {
            try await isQuiet(bridge)
          }
          #expect(isEnded)
          try await expectAccounting(bridge)
          let statistics = try await bridge.statistics()
          counters = statistics.tagging
          #expect(tally.wrong.load(ordering: .relaxed) == 0)
          #expect(tally.foreign.load(ordering: .relaxed) == 0)
          #expect(tally.retrieved.load(ordering: .relaxed) > Self.count / 4)
          #expect(counters.associated == counters.ended)
          #expect(counters.staleHandles == 0)
          #expect(counters.foreignFlows == 0)
          #expect(counters.copies == 0)
          #expect(counters.eventsLost == 0)
          let departures = try topology.departures()
          #expect(failure == .block ? departures == taken : departures == Self.count)
          try await expectSoon {
            try receiver.count + topology.drops(peer: 1, port: 7) == departures
          }
          #expect(receiver.contents.late == 0 || failure == .permit)
        }
      }
      return (counters, tally)
    }
  }
}
