// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

extension NetnsTests {
  /// Copies past our last hook, on kernels that let them be counted.
  @Suite(.enabled(if: countsCopies, "this kernel's functions cannot be followed: make guest-test"))
  struct Bearers {
    @Test func `a frame that a bridge floods to four ports: three clones, and the end of the last`()
      async throws
    {
      try await withTopology(peers: 4) { _ in
        try Shell.run(
          """
          ip link add br0 type bridge; ip link set br0 up
          for n in 1 2 3 4; do ip addr flush dev a$n; ip link set a$n master br0; done
          ip addr add 10.9.1.1/24 dev br0
          ip neigh replace 10.9.1.99 lladdr 02:00:00:00:77:77 dev br0 nud permanent
          """)
        let lives = try await counted(at: .outboundTransportV4, of: Sender(to: "10.9.1.99")) {
          $0.send(5)
        }
        let clones = lives.events.filter { $0.kind == .clonedByNDIS }
        #expect(clones.count == 3)
        #expect(clones.allSatisfy { $0.certainty == .exact })
        let end = try #require(lives.ends.first)
        #expect(end.reason == .transmitted)
        #expect(end.certainty == .exact)
      }
    }

    @Test func `a copy that outlives its packet is waited for`() async throws {
      try await withTopology(peers: 2) { _ in
        // The copy waits for a neighbour that is not there.
        try Shell.run(
          """
          echo 200 > /proc/sys/net/ipv4/neigh/a2/retrans_time_ms
          iptables -t mangle -A INPUT -p udp --dport 7 -j TEE --gateway 10.9.2.9
          """)
        let receiver = Receiver()
        let lives = try await counted(
          at: .inboundIPPacketV4, of: Sender(in: "p1", to: "10.9.1.1")
        ) {
          $0.send(5)
          try await expectSoon { receiver.count == 1 }
        }
        let copies = lives.events.filter { $0.kind == .duplicatedByNetIO }
        #expect(copies.map(\.certainty) == [.exact])
        let delivered = try #require(lives.events.first { $0.kind == .receiveComplete })
        let end = try #require(lives.ends.first)
        #expect(end.reason == .delivered)
        #expect(end.certainty == .exact)
        #expect(end.time - delivered.time > 300_000_000)
      }
    }

    @Test func `copied by TEE, both copies`() async throws {
      try await withTopology(peers: 3) { topology in
        try topology.enableForwarding()
        try Shell.run(
          "iptables -t mangle -A POSTROUTING -p udp --dport 7 -j TEE --gateway 10.9.3.2")
        let receivers = [Receiver(in: "p2"), Receiver(in: "p2", port: 9)]
        let lives = try await counted(
          at: .ipForwardV4, of: Sender(in: "p1", to: "10.9.2.2"),
          first: Sender(in: "p1", to: "10.9.2.2", port: 9)
        ) {
          $0.send(5)
          try await expectSoon { receivers.allSatisfy { $0.count == 1 } }
        }
        #expect(lives.events.filter { $0.kind == .duplicatedByNetIO }.map(\.certainty) == [.exact])
        #expect(lives.ends.map(\.reason) == [.transmitted])
        #expect(lives.ends.map(\.certainty) == [.exact])
      }
    }

    @Test func `a packet that is fragmented ends with its last fragment`() async throws {
      try await withTopology { _ in
        let lives = try await counted(at: .outboundTransportV4, of: Sender(to: "10.9.1.2")) {
          $0.send(5, size: 4000)
        }
        let end = try #require(lives.ends.first)
        #expect(end.reason == .transmitted)
        #expect(end.certainty == .exact)
        #expect(!lives.events.contains { $0.kind == .clonedByNDIS })
      }
    }

    @Test func `a datagram that two programs get`() async throws {
      try await withTopology { _ in
        try Shell.run("ip -n p1 route add 239.0.0.0/8 dev b1")
        let readers = [Receiver(group: "239.1.1.1"), Receiver(group: "239.1.1.1")]
        let lives = try await counted(
          at: .inboundIPPacketV4, of: Sender(in: "p1", to: "239.1.1.1")
        ) {
          $0.send(5)
          try await expectSoon { readers.allSatisfy { $0.count == 1 } }
        }
        #expect(lives.events.filter { $0.kind == .clonedByNetIO }.count == 1)
        #expect(lives.ends.map(\.reason) == [.delivered])
        #expect(lives.ends.map(\.certainty) == [.exact])
      }
    }

    /// The life of the datagram with number 5; one that `first` sends has the counting begin.
    private func counted(
      at layer: Layer, of sender: Sender, first: Sender = Sender(to: "10.9.1.1", port: 9),
      during traffic: (Sender) async throws -> Void
    ) async throws -> Lives {
      var lives = try await lives(
        at: [layer], count: 2, configure: { $0.sweepAfter = .seconds(30) },
        preparing: { bridge in
          first.send(1)
          try await expectSoon { bridge.countsCopies }
        },
        during: { try await traffic(sender) })
      lives.events.removeAll { $0.context != 5 }
      return lives
    }
  }
}
