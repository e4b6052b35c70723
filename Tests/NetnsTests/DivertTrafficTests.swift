// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import PacketViews
import Testing

extension NetnsTests {
  /// Real traffic whose every frame goes through user space.
  @Suite(.diverts) struct DivertTraffic {
    @Test func `ping, UDP and TCP pass through a device that is diverted both ways`() async throws {
      try await withTopology { _ in
        try await diverting("a1") { inbound, outbound in
          try Shell.run("ping -c 3 -i 0.05 -W 2 10.9.1.2; ping -6 -c 3 -i 0.05 -W 2 fd09:1::2")
          let receivers = [Receiver(in: "p1"), Receiver()]
          Sender(to: "10.9.1.2").send(count: 500)
          Sender(in: "p1", to: "10.9.1.1").send(count: 500)
          try await expectSoon { receivers.allSatisfy { $0.count == 500 } }
          for receiver in receivers {
            #expect(receiver.contents.sequences == (0..<500).map { UInt64($0) })
          }
          try Transfers.both()
          for divert in [inbound, outbound] {
            try await expectSoon { try divert.counters.tally.permitted > 500 }
            let counters = try divert.counters
            #expect(counters.overloaded == 0 && counters.unwrapped == 0)
          }
        }
      }
    }

    @Test func `segments to be cut and unfinished checksums pass as they are`() async throws {
      try await withTopology { _ in
        let segmented = Shared(0)
        let partial = Shared(0)
        let longest = Shared(0)
        try await diverting(
          "a1",
          outbound: { frame in
            let offload = frame.metadata.offload
            if offload.isSegmentationPending { segmented.change { $0 += 1 } }
            if offload.isChecksumPartial {
              partial.change { $0 += 1 }
              // Behind the Ethernet and IP headers.
              if offload.checksumStart != 34 { Issue.record("checksum at \(offload)") }
            }
            let length = frame.bytes.byteCount
            longest.change { $0 = max($0, length) }
            return .permit
          }
        ) { _, outbound in
          try Transfers.both()
          #expect(segmented.value > 0 && partial.value > 0)
          #expect(longest.value > 10_000)
          #expect(try outbound.stop().truncated == 0)
        }
      }
    }

    @Test func `segments within a tunnel are cut by the kernel, and each is accounted for`()
      async throws
    {
      try await withTopology { _ in
        try Shell.run(
          """
          ip link add vx type vxlan id 1 local 10.9.1.1 remote 10.9.1.2 dstport 4789 dev a1
          ip addr add 10.7.0.1/24 dev vx; ip link set vx up
          ip -n p1 link add vx type vxlan id 1 local 10.9.1.2 remote 10.9.1.1 dstport 4789 dev b1
          ip -n p1 addr add 10.7.0.2/24 dev vx; ip -n p1 link set vx up
          """)
        try await diverting("a1") { inbound, outbound in
          try Transfers.both(here: "10.7.0.1", there: "10.7.0.2")
          try await expectSoon {
            let counters = try outbound.counters
            return try counters.landed > counters.diverted
              && inbound.counters.tally.permitted > 100
          }
        }
        try Shell.run("ip link del vx")
      }
    }

    @Test func `jumbo frames pass both ways`() async throws {
      try await withTopology { _ in
        try Shell.run("ip link set a1 mtu 9000; ip -n p1 link set b1 mtu 9000")
        try await diverting("a1") { inbound, outbound in
          try Shell.run("ping -M do -s 8900 -c 3 -i 0.05 -W 2 10.9.1.2")
          for divert in [inbound, outbound] {
            try await expectSoon { try divert.counters.tally.permitted >= 3 }
          }
        }
      }
    }

    @Test func `foreign bits of the mark and the priority stay, our bit goes`() async throws {
      try await withTopology { _ in
        // What br0 has let through comes to the chain at a1.
        try Shell.run(
          """
          ip link add br0 type bridge mcast_snooping 0; ip link set a1 master br0
          ip link set br0 up
          nft 'add table netdev w; add chain netdev w out \
            { type filter hook egress device a1 priority 0; };
            add rule netdev w out meta mark 0x1234567 meta priority 1:5 counter;
            add rule netdev w out meta mark & 0x80000000 != 0 counter drop'
          """)
        let seen = Shared<[FrameMetadata]>([])
        let outbound = try Diversion("br0", .outbound) { frame in
          let metadata = frame.metadata
          // The kernel's own MLD reports bear what is left of other use of the mark's place.
          if frame.bytes.bigEndian16(at: 12) == FrameTap.experiment {
            seen.change { $0.append(metadata) }
          }
          return .permit
        }
        let tap = FrameTap("br0")
        defer { tap.close() }
        for number in 0..<10 {
          tap.send(experiment(number: UInt8(number)), mark: 0x123_4567, priority: 0x1_0005)
        }
        try await expectSoon { try outbound.counters.returned >= 10 }
        try await expectSoon { try Self.counts("netdev w out").first == 10 }
        #expect(try Self.counts("netdev w out") == [10, 0])
        #expect(seen.value.count == 10, "\(seen.value)")
        #expect(seen.value.allSatisfy { $0.mark == 0x123_4567 && $0.priority == 0x1_0005 })
        expectAccounting(try outbound.stop())
        try Shell.run("nft delete table netdev w")
      }
    }

    @Test func `a mark that is put on inbound is there at prerouting, without our bit`()
      async throws
    {
      try await withTopology { _ in
        try Shell.run(
          """
          nft 'add table inet w; add chain inet w pre { type filter hook prerouting priority -300; };
            add rule inet w pre udp dport 7 meta mark 0x125000 counter;
            add rule inet w pre meta mark & 0x80000000 != 0 counter'
          """)
        let inbound = try Diversion("a1", .inbound) { _ in .mark(0x12_5000) }
        let receiver = Receiver()
        Sender(in: "p1", to: "10.9.1.1").send(count: 20)
        try await expectSoon { receiver.count == 20 }
        #expect(try Self.counts("inet w pre") == [20, 0])
        expectAccounting(try inbound.stop())
      }
    }

    @Test func `a broadcast that is blocked reaches nobody, this host's stack included`()
      async throws
    {
      try await withTopology { _ in
        // Taps of the device itself come before any divert.
        let blocked = Shared(0)
        let inbound = try Diversion("a1", .inbound) { frame in
          guard frame.bytes.byte(at: 0) == 0xff else { return .permit }
          blocked.change { $0 += 1 }
          return .drop
        }
        let helper = try #require(try LinkDevice.find(index: inbound.helperIndex)?.name)
        let receivers = [Receiver(), Receiver(port: 9)]
        let before = try Shell.run("cat /proc/thread-self/net/snmp")
        try Shell.run(
          "ip netns exec p1 socat -u SYSTEM:'echo blocked' "
            + "UDP-DATAGRAM:10.9.1.255:7,broadcast,bind=10.9.1.2")
        let arp =
          Ends.broadcast + [2, 0, 0, 0, 9, 9] + [8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 9, 9]
          + [10, 9, 1, 77] + [0, 0, 0, 0, 0, 0, 10, 9, 1, 1] + [UInt8](repeating: 0, count: 18)
        let peer = FrameTap(in: "p1", "b1")
        defer { peer.close() }
        #expect(peer.send(arp) == 0)
        try await expectSoon { blocked.value >= 2 }
        // What comes later than the broadcasts has come: they would have come too.
        Sender(in: "p1", to: "10.9.1.1", port: 9).send(count: 1)
        try await expectSoon { receivers[1].count == 1 }
        #expect(receivers[0].count == 0)
        #expect(try !Shell.run("ip neigh").contains("10.9.1.77"))
        #expect(
          try Self.udpArrivals(Shell.run("cat /proc/thread-self/net/snmp"))
            == Self.udpArrivals(before) + 1)
        let columns = try Shell.run("grep '\(helper):' /proc/thread-self/net/dev").split(
          whereSeparator: \.isWhitespace)
        #expect(columns[2] == "0", "the helper has received packets: \(columns)")
        expectAccounting(try inbound.stop())
      }
    }

    @Test func `what others drop of the frames put back is counted, and keeps nothing waiting`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run(
          """
          nft 'add table netdev w; add chain netdev w out \
            { type filter hook egress device a1 priority 0; };
            add rule netdev w out meta mark & 0x80000000 != 0 meta length 50-70 counter drop'
          """)
        let divert = try Diversion("a1", .outbound)
        let from = FrameTap("a1")
        let to = FrameTap(in: "p1", "b1")
        defer {
          from.close()
          to.close()
        }
        for number in 0..<20 { from.send(experiment(size: number % 2 == 0 ? 60 : 80)) }
        try await expectSoon { to.count == 10 }
        try await expectSoon { try divert.counters.tally.noRoom == 10 }
        #expect(divert.injector.inject(experiment(size: 60).span.packetBytes) == .noRoom)
        #expect(divert.injector.inject(experiment(size: 80).span.packetBytes) == .sent)
        let counters = try divert.stop()
        #expect(counters.tally.permitted == 10 && counters.tally.forcedRemovals == 0)
        #expect(counters.returned == 11 && counters.tally.strayed <= 1)
        expectAccounting(counters)
        try Shell.run("nft delete table netdev w")
      }
    }

    /// UDP datagrams that the stack has taken.
    private static func udpArrivals(_ snmp: String) -> Int {
      let line = snmp.split(separator: "\n").filter { $0.hasPrefix("Udp:") }.last ?? ""
      return Int(line.split(separator: " ").dropFirst().first ?? "") ?? -1
    }

    /// What the counters of a chain have counted.
    static func counts(_ chain: String) throws -> [Int] {
      let words = try Shell.run("nft list chain \(chain)").split(whereSeparator: \.isWhitespace)
      return words.indices.filter { words[$0] == "packets" }.compactMap { Int(words[$0 + 1]) }
    }
  }
}

/// TCP transfers of content that must arrive as it was.
enum Transfers {
  static func both(here: String = "10.9.1.1", there: String = "10.9.1.2") throws {
    try Shell.run(
      """
      D=$(mktemp -d); trap 'rm -rf $D' EXIT
      head -c 8000000 /dev/urandom > $D/sent
      ip netns exec p1 socat -u TCP-LISTEN:5001,reuseaddr OPEN:$D/there,creat & there=$!
      socat -u TCP-LISTEN:5002,reuseaddr OPEN:$D/here,creat & here=$!
      timeout 60 socat -u OPEN:$D/sent TCP:\(there):5001,retry=50,interval=0.1
      timeout 60 ip netns exec p1 socat -u OPEN:$D/sent TCP:\(here):5002,retry=50,interval=0.1
      wait $there; wait $here
      cmp $D/sent $D/there; cmp $D/sent $D/here
      """)
  }
}
