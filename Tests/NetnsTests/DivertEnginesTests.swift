// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import PacketViews
import Testing

extension NetnsTests {
  /// Several engines, each with its own bit of the mark, that divert one device.
  @Suite(.diverts) struct DivertEngines {
    private static let bits: [UInt32] = [0x8000_0000, 0x0080_0000, 0x0000_8000]

    /// How often each engine has seen each numbered frame.
    private final class Sights: Sendable {
      private let seen: [Shared<[UInt64: Int]>]
      init(_ count: Int) { seen = (0..<count).map { _ in Shared([:]) } }

      /// Counts a frame, and drops what goes round and round.
      func look(_ engine: Int) -> DecideBody {
        { [self] frame in
          guard frame.bytes.byteCount >= 19, frame.bytes.bigEndian16(at: 12) == 0x88b5 else {
            return .permit
          }
          let number = UInt64(frame.bytes.byte(at: 14)) << 32 | UInt64(frame.number)
          var times = 0
          seen[engine].change {
            $0[number, default: 0] += 1
            times = $0[number, default: 0]
          }
          return times > 4 ? .drop : .permit
        }
      }

      /// For each engine how many frames it has seen, and how often the one it has seen most.
      var summary: [[Int]] { seen.map { [$0.value.count, $0.value.values.max() ?? 0] } }
      func forget() { for engine in seen { engine.change { $0 = [:] } } }
    }

    @Test(arguments: [LinkDirection.inbound, .outbound], [2, 3])
    func `each of several engines sees each frame once`(_ direction: LinkDirection, _ count: Int)
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let isInbound = direction == .inbound
        let receiver = isInbound ? NumberedReceiver("a1") : NumberedReceiver(in: "p1", "b1")
        let sender = isInbound ? NumberedSender(in: "p1", "b1") : NumberedSender("a1")
        defer { receiver.close() }
        let sights = Sights(count)
        var total = 0
        for lastGoesFirst in [true, false] {
          var engines: [Diversion] = []
          for engine in 0..<count {
            engines.append(
              try Diversion("a1", direction, bit: Self.bits[engine], sights.look(engine)))
          }
          for _ in 0..<50 { sender.send(count: 20, pause: 500) }
          total += 1000
          try await expectSoon { receiver.contents.count == total }
          let log = receiver.contents
          #expect(log.isComplete && log.doubled == 0 && log.late == 0, "\(log)")
          #expect(sights.summary == Array(repeating: [1000, 1], count: count))
          sights.forget()
          // In the other order frames come while they go.
          if lastGoesFirst { engines.reverse() }
          for engine in engines {
            for _ in 0..<10 { sender.send(count: 20, pause: 500) }
            let counters = try engine.stop()
            expectAccounting(counters)
            #expect(counters.tally.forcedRemovals == 0 && counters.tally.strayed == 0)
          }
          total += 200 * count
          try await expectSoon { receiver.contents.count == total }
          let later = receiver.contents
          #expect(later.isComplete && later.doubled == 0 && later.late == 0, "\(later)")
          #expect(sights.summary.allSatisfy { $0[1] <= 1 }, "\(sights.summary)")
          sights.forget()
        }
      }
    }

    @Test func `ping and TCP pass two engines both ways, each of which sees all of it once`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        var engines: [(inbound: Diversion, outbound: Diversion)] = []
        for bit in Self.bits.prefix(2) {
          engines.append(
            (
              try Diversion("a1", .inbound, bit: bit), try Diversion("a1", .outbound, bit: bit)
            ))
        }
        try Shell.run("ping -c 5 -i 0.05 -W 2 10.9.1.2")
        try Transfers.both()
        for way in [\(inbound: Diversion, outbound: Diversion).inbound, \.outbound] {
          try await expectSoon {
            let counts = try engines.map { try $0[keyPath: way].counters }
            return counts[0].tally.received == counts[1].tally.received
              && counts.allSatisfy { $0.tally.permitted == $0.tally.received }
          }
        }
        for engine in engines {
          for each in [engine.inbound, engine.outbound] {
            let counters = try each.stop()
            expectAccounting(counters)
            #expect(counters.tally.received > 100 && counters.tally.forcedRemovals == 0)
          }
        }
      }
    }

    @Test(arguments: [LinkDirection.inbound, .outbound], [0, 1])
    func `what one engine injects the other sees once, and knows it`(
      _ direction: LinkDirection, _ injecting: Int
    ) async throws {
      try await withTopology { topology in
        try topology.silence()
        let isInbound = direction == .inbound
        let there = isInbound ? FrameTap("a1") : FrameTap(in: "p1", "b1")
        let from = isInbound ? FrameTap(in: "p1", "b1") : FrameTap("a1")
        defer {
          there.close()
          from.close()
        }
        let seen = Shared<[[Bool]]>([[], []])
        let engines = try (0..<2).map { engine in
          try Diversion("a1", direction, bit: Self.bits[engine]) { frame in
            let isInjected = frame.metadata.trail.isInjected
            let isTest = frame.bytes.bigEndian16(at: 12) == FrameTap.experiment
            if isTest { seen.change { $0[engine].append(isInjected) } }
            return .permit
          }
        }
        let frame =
          isInbound ? experiment(to: Ends.host, from: Ends.peer) : experiment(size: 61)
        #expect(engines[injecting].injector.inject(frame.span.packetBytes, mark: 0x77) == .sent)
        try await expectSoon { there.count == 1 }
        // What was taken out and goes on late is no injection, and new to those who come after.
        from.send(frame)
        try await expectSoon { there.count == 2 }
        #expect(
          engines[injecting].injector.inject(frame.span.packetBytes, trail: FrameTrail.none)
            == .sent)
        try await expectSoon { there.count == 3 }
        #expect(seen.value[injecting] == [false])
        #expect(seen.value[1 - injecting] == [true, false, false])
        #expect(there.seen.map(\.mark) == (isInbound ? [0x77, 0, 0] : [0, 0, 0]))
        for engine in engines { expectAccounting(try engine.stop()) }
      }
    }

    @Test func `a note is of one arrival: the buffer that comes once more is seen once more`()
      async throws
    {
      try await withTopology { _ in
        // Behind the divert, x2 gives what it receives back to x1 once.
        try Shell.run(
          """
          ip link add x1 type veth peer name x2
          for name in x1 x2; do
            echo 1 > /proc/sys/net/ipv6/conf/$name/disable_ipv6; ip link set $name up; done
          nft 'add table netdev w; add chain netdev w in \
            { type filter hook ingress device x2 priority 0; };
            add rule netdev w in limit rate 1/day burst 1 packets fwd to x1'
          """)
        let (from, to) = (FrameTap("x1"), FrameTap("x2"))
        defer {
          from.close()
          to.close()
        }
        let engines = try Self.bits.prefix(2).map { try Diversion("x2", .inbound, bit: $0) }
        from.send(experiment(to: Ends.broadcast))
        try await expectSoon { to.count == 1 }
        for engine in engines {
          let counters = try engine.stop()
          expectAccounting(counters)
          #expect(counters.tally.received == 2)
        }
        try Shell.run("nft delete table netdev w")
      }
    }
  }
}

extension DivertedFrame {
  /// The number of a frame of `NumberedSender` in its flow.
  fileprivate var number: UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes.byte(at: 15 + $1)) << ($1 * 8) }
  }
}
