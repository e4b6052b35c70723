// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import Kernel
import LinkLayer
import NetfilterQueue
import Testing

extension NetnsTests {
  /// What others have at the device that is diverted by a filter of ours.
  @Suite(.divertsByClsact) struct DivertNeighbours {
    private static let ways: [(direction: LinkDirection, name: String)] = [
      (.inbound, "ingress"), (.outbound, "egress"),
    ]

    /// Sends ten frames the one way or the other, and waits until they have arrived.
    private func exchange(_ direction: LinkDirection) async throws {
      let here = FrameTap("a1")
      let there = FrameTap(in: "p1", "b1")
      defer {
        here.close()
        there.close()
      }
      if direction == .outbound {
        for _ in 0..<10 { here.send(experiment()) }
        try await expectSoon { there.count == 10 }
      } else {
        for _ in 0..<10 { there.send(experiment(to: Ends.host, from: Ends.peer)) }
        // As they are put back; before a divert they are not seen by one protocol.
        try await expectSoon { here.count == 10 }
      }
    }

    private func watch(_ priority: Int, _ place: String, _ device: String) -> String {
      """
      tc filter add dev a1 \(place) prio \(priority) protocol 0x88b5 u32 match u32 0 0 \
        action mirred egress mirror dev \(device) continue
      """
    }

    @Test(arguments: ways)
    func `filters of others stay, see each frame once behind ours and twice before it`(
      _ direction: LinkDirection, _ place: String
    ) async throws {
      try await withTopology(peers: 3) { topology in
        try topology.silence()
        try Shell.run("tc qdisc add dev a1 clsact; \(watch(50, place, "a2"))")
        let first = try Shell.run("tc filter show dev a1 \(place)")
        let taps = [FrameTap(in: "p2", "b2"), FrameTap(in: "p3", "b3")]
        defer { for tap in taps { tap.close() } }
        do {
          let divert = try Diversion("a1", direction)
          #expect(divert.attachment == .clsact)
          try Shell.run(watch(10, place, "a3"))
          try await exchange(direction)
          try await expectSoon { taps.map(\.count) == [10, 20] }
          let counters = try divert.stop()
          #expect(counters.diverted == 10 && counters.returned == 10)
          expectAccounting(counters)
        }
        // Nothing of ours is left, and nothing of theirs is gone.
        try Shell.run("tc filter del dev a1 \(place) prio 10")
        #expect(try Shell.run("tc filter show dev a1 \(place)") == first)
        try await exchange(direction)
        try await expectSoon { taps.map(\.count) == [20, 20] }
      }
    }

    @Test func `the discipline goes with the last direction, unless somebody else uses it`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        func hasClsact() throws -> Bool {
          try Shell.run("tc qdisc show dev a1").contains("clsact")
        }
        for foreign in [false, true] {
          do {
            var inbound: Diversion? = try Diversion("a1", .inbound)
            let outbound = try Diversion("a1", .outbound)
            if foreign {
              try Shell.run("tc filter add dev a1 egress prio 70 u32 match u32 0 0 classid 1:1")
            }
            #expect(try AbandonedFilters.remove().isEmpty)
            try await exchange(.inbound)
            #expect(try inbound?.stop().diverted == 10)
            // Whoever has made it goes first.
            inbound = nil
            #expect(try hasClsact())
            #expect(try !Shell.run("tc filter show dev a1 ingress").contains("callout"))
            try await exchange(.outbound)
            #expect(try outbound.stop().diverted == 10)
          }
          #expect(try hasClsact() == foreign)
        }
        #expect(try Shell.run("tc filter show dev a1 egress").contains("pref 70 u32"))
        #expect(try !Shell.run("tc filter show dev a1 ingress").contains("callout"))
      }
    }

    @Test func `a first place that is taken stays its owner's`() async throws {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run(
          """
          tc qdisc add dev a1 clsact
          tc filter add dev a1 egress prio 1 protocol ip u32 match u32 0 0 classid 1:1
          tc filter add dev a1 egress prio 2 protocol all bpf bytecode '1,6 0 0 0'
          """)
        let before = try Shell.run("tc filter show dev a1 egress")
        do {
          let divert = try Diversion("a1", .outbound)
          #expect(try Shell.run("tc filter show dev a1 egress").contains("pref 3 bpf"))
          try await exchange(.outbound)
          #expect(try divert.stop().diverted == 10)
        }
        #expect(try Shell.run("tc filter show dev a1 egress") == before)
      }
    }

    @Test func `where another's discipline is in the way it is named`() async throws {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run("tc qdisc add dev a1 ingress")
        do {
          let inbound = try Diversion("a1", .inbound)
          try await exchange(.inbound)
          #expect(try inbound.stop().diverted == 10)
        }
        #expect(throws: DivertError.ingressDiscipline(device: "a1")) {
          try Diversion("a1", .outbound)
        }
        #expect(try Shell.run("tc qdisc show dev a1").contains("ingress"))
        try Shell.run("tc qdisc del dev a1 ingress; tc qdisc add dev a1 ingress_block 5 clsact")
        #expect(throws: DivertError.sharedBlock(device: "a1")) { try Diversion("a1", .inbound) }
        #expect(try FrameHolder.helpers().isEmpty)
      }
    }

    @Test func `what an ended process has left is removed, and nothing of others`() async throws {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run("tc qdisc add dev a1 clsact")
        let dead = try Shell.start(FrameHolder.command("a1"))
        try await expectSoon { try Shell.run("tc filter show dev a1 egress").contains("callout") }
        dead.stop()
        try await expectSoon { try FrameHolder.helpers().isEmpty }
        do {
          let living = try Diversion("a1", .inbound)
          try Shell.run("tc filter add dev a1 egress prio 7 u32 match u32 0 0 classid 1:1")
          #expect(try AbandonedFilters.remove() == ["a1 inbound", "a1 outbound"])
          try await exchange(.inbound)
          try await exchange(.outbound)
          #expect(try living.stop().diverted == 10)
        }
        let left = try Shell.run("tc filter show dev a1 egress; tc filter show dev a1 ingress")
        #expect(left.contains("pref 7 u32") && !left.contains("callout"))
        #expect(try Shell.run("tc qdisc show dev a1").contains("clsact"))
      }
    }

    @Test func `what somebody takes away is put back when it is needed next`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let divert = try Diversion("a1", .outbound)
        divert.want(false)
        try await expectSoon { divert.phase == .detached }
        try Shell.run("tc qdisc del dev a1 clsact")
        divert.want(true)
        try await expectSoon { divert.phase == .attached }
        try await exchange(.outbound)
        #expect(try divert.stop().diverted == 10)
      }
    }

    @Test func `packets that wait in a queue of somebody's stay there`() async throws {
      try await withTopology { _ in
        var queue = try QueueSocket.open(QueueOptions(number: 31500))
        defer { queue.unbind() }
        try Shell.run("iptables -t mangle -A OUTPUT -p udp --dport 7 -j NFQUEUE --queue-num 31500")
        func waiting() -> UInt32? {
          QueueStatus.all().first { $0.number == 31500 }.map { $0.waiting + $0.queueDropped }
        }
        Sender(to: "10.9.1.2").send(count: 20)
        try await expectSoon { waiting() == 20 }
        for _ in 0..<3 {
          for (direction, _) in Self.ways { try Diversion("a1", direction).stop() }
        }
        let dead = try Shell.start(FrameHolder.command("a1"))
        try await expectSoon { try FrameHolder.helpers().count == 2 }
        try await expectSoon { try Shell.run("tc filter show dev a1 egress").contains("callout") }
        dead.stop()
        try await expectSoon { try FrameHolder.helpers().isEmpty }
        #expect(try AbandonedFilters.remove().count == 2)
        #expect(waiting() == 20)
      }
    }
  }
}
