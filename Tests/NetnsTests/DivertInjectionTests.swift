// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import PacketViews
import Testing

extension NetnsTests {
  /// Frames that nobody else sent.
  @Suite(.diverts) struct DivertInjection {
    @Test(arguments: [true, false])
    func `invented frames go both ways with a mark, whether diverted or not`(
      _ isAttached: Bool
    ) async throws {
      try await withTopology { topology in
        try topology.silence()
        let inbound = try Diversion("a1", .inbound, isWanted: isAttached)
        let outbound = try Diversion("a1", .outbound, isWanted: isAttached)
        let here = FrameTap("a1")
        let there = FrameTap(in: "p1", "b1")
        defer {
          here.close()
          there.close()
        }
        let away = experiment(number: 1)
        let home = experiment(to: Ends.host, from: Ends.peer, number: 2)
        for _ in 0..<10 {
          #expect(outbound.injector.inject(away.span.packetBytes, mark: 0x1234) == .sent)
          #expect(inbound.injector.inject(home.span.packetBytes, mark: 0x4321) == .sent)
        }
        try await expectSoon { here.count == 10 && there.count == 10 }
        #expect(there.seen.allSatisfy { $0.bytes == away })
        // The bit is gone, whoever had to take it away.
        #expect(here.seen.allSatisfy { $0.bytes == home && $0.mark == 0x4321 })
        for divert in [inbound, outbound] {
          let counters = try divert.stop()
          #expect(counters.tally.received == 0 && counters.tally.forcedRemovals == 0)
          #expect(counters.returned == (isAttached ? 10 : 0))
        }
      }
    }

    @Test func `many threads inject while the divert comes and goes`() async throws {
      try await withTopology { _ in
        let outbound = try Diversion("a1", .outbound)
        let there = FrameTap(in: "p1", "b1")
        defer { there.close() }
        let threads = (0..<4).map { number in
          Background {
            let frame = experiment(number: UInt8(number))
            for _ in 0..<1000 {
              if outbound.injector.inject(frame.span.packetBytes) != .sent {
                Issue.record("not sent")
              }
            }
          }
        }
        for _ in 0..<10 {
          outbound.want(false)
          try await expectSoon { outbound.phase == .detached }
          outbound.want(true)
          try await expectSoon { outbound.phase == .attached }
        }
        for thread in threads { thread.join() }
        try await expectSoon { there.count == 4000 }
        let counters = try outbound.stop()
        #expect(counters.tally.forcedRemovals == 0)
        expectAccounting(counters)
      }
    }

    @Test func `lengths that cannot be, and those that only the helper takes`() async throws {
      try await withTopology { _ in
        let outbound = try Diversion("a1", .outbound)
        let there = FrameTap(in: "p1", "b1")
        defer { there.close() }
        for length in [0, 1, 13] {
          let frame = [UInt8](repeating: 0xff, count: length)
          #expect(outbound.injector.inject(frame.span.packetBytes) == .malformed)
        }
        #expect(outbound.injector.inject(experiment(size: 14).span.packetBytes) == .sent)
        #expect(outbound.injector.inject(experiment(size: 70_000).span.packetBytes) == .tooLong)
        try await expectSoon { there.count == 1 }
        try outbound.stop()
      }
    }

    @Test func `a checksum that is left to the device is finished`() async throws {
      try await withTopology { _ in
        let outbound = try Diversion("a1", .outbound)
        let receiver = Receiver(in: "p1")
        try Shell.run("ip netns exec p1 ethtool -K b1 rx off >/dev/null 2>&1 || true")
        // The sum of the pseudo header, which the device adds the rest to.
        var frame =
          Ends.peer + Ends.host + [8, 0] + datagram(to: [10, 9, 1, 2], from: [10, 9, 1, 1])
        let sum = 0x0a09 + 0x0101 + 0x0a09 + 0x0102 + 17 + 40
        frame[40] = UInt8(sum >> 8 & 0xff)
        frame[41] = UInt8(sum & 0xff)
        var offload = FrameOffload()
        offload.flags = 1
        offload.checksumStart = 34
        offload.checksumOffset = 6
        #expect(outbound.injector.inject(frame.span.packetBytes, offload: offload) == .sent)
        try await expectSoon { receiver.count == 1 }
        offload.checksumStart = 5000
        #expect(
          outbound.injector.inject(frame.span.packetBytes, offload: offload)
            == .refused(errno: EINVAL))
        expectAccounting(try outbound.stop())
      }
    }
  }
}
