// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

extension NetnsTests {
  /// What the kernel tells of a packet's end: one terminal event each, with its reason.
  @Suite struct Fates {
    @Test func `sent on a device`() async throws {
      try await withTopology { _ in
        let receiver = Receiver(in: "p1")
        let lives = try await lives(at: [.outboundTransportV4]) {
          Sender(to: "10.9.1.2").send(3)
          try await expectSoon { receiver.count == 1 }
        }
        #expect(
          lives.story(of: 3) == [.enteredNetIO, .exitNetIO, .sendComplete, .contextRemoved])
        let end = try #require(lives.ends.first)
        #expect(end.reason == .transmitted)
        #expect(end.certainty == .exact)
        #expect(lives.bridge.details(of: end).device == "a1")
      }
    }

    @Test func `forwarded`() async throws {
      try await withTopology(peers: 2) { topology in
        try topology.enableForwarding()
        let receiver = Receiver(in: "p2")
        let lives = try await lives(at: [.ipForwardV4]) {
          Sender(in: "p1", to: "10.9.2.2").send(1)
          try await expectSoon { receiver.count == 1 }
        }
        let end = try #require(lives.ends.first)
        #expect(end.reason == .transmitted)
        #expect(lives.bridge.details(of: end).device == "a2")
      }
    }

    @Test func `delivered to a socket and read`() async throws {
      try await withTopology { _ in
        let lives = try await lives(
          at: [.inboundTransportV4], protocolNumber: 6, only: 0x3132_3334_3536_3738
        ) {
          let reader = try await listen()
          defer { reader.stop() }
          try Shell.run("printf 12345678 | ip netns exec p1 socat -u STDIN TCP:10.9.1.1:7")
          reader.wait()
        }
        let end = try #require(lives.ends.first)
        #expect(end.reason == .delivered)
        #expect(end.isRead)
        #expect(lives.story(of: end.context).contains(.receiveComplete))
      }
    }

    @Test func `delivered, never read, socket closed`() async throws {
      try await withTopology { _ in
        let socket = IdleSocket(port: 7)
        let lives = try await lives(at: [.inboundIPPacketV4]) {
          Sender(in: "p1", to: "10.9.1.1").send(1)
          try await expectSoon { socket.pendingBytes > 0 }
          socket.close()
        }
        let end = try #require(lives.ends.first)
        #expect(end.reason == .delivered)
        #expect(!end.isRead)
        #expect(
          lives.story(of: 1) == [
            .enteredNetIO, .exitNetIO, .receiveComplete, .contextRemoved,
          ])
      }
    }

    @Test(arguments: [true, false])
    func `a datagram that is read, on the CPU that received it or on another`(
      onTheSame: Bool
    ) async throws {
      try await withTopology { _ in
        let lives = try await lives(at: [.inboundIPPacketV4], count: 100) {
          let receiver = Receiver(cpu: 0)
          let sender = Sender(in: "p1", to: "10.9.1.1")
          // The CPU that sends by a veth pair is the one that receives.
          Background {
            stay(on: onTheSame ? 0 : 1)
            sender.send(count: 100)
          }.join()
          try await expectSoon { receiver.count == 100 }
        }
        #expect(lives.ends.allSatisfy { $0.reason == .delivered })
      }
    }

    @Test func `UDP to a closed port`() async throws {
      let drop = try await drop(at: [.inboundIPPacketV4]) {
        Sender(in: "p1", to: "10.9.1.1", port: 4444).send(1)
      }
      #expect(drop.reason == "NO_SOCKET")
    }

    @Test func `dropped by an iptables rule after us`() async throws {
      let drop = try await drop(
        at: [.inboundIPPacketV4], prepare: "iptables -A INPUT -p udp --dport 7 -j DROP"
      ) {
        Sender(in: "p1", to: "10.9.1.1").send(1)
      }
      #expect(drop.reason == "NETFILTER_DROP")
      #expect(drop.place?.contains("+0x") == true)
    }

    @Test func `dropped by a rule at our own hook after us`() async throws {
      let drop = try await drop(
        at: [.outboundTransportV4], prepare: "iptables -A OUTPUT -p udp --dport 7 -j DROP"
      ) {
        Sender(to: "10.9.1.2").send(1)
      }
      #expect(drop.reason == "NETFILTER_DROP")
    }

    @Test func `TTL expired`() async throws {
      let drop = try await drop(at: [.inboundIPPacketV4], peers: 2) {
        try Shell.run("echo 12345678 | ip netns exec p1 socat -u STDIN UDP:10.9.2.2:7,ttl=1")
      }
      #expect(drop.reason == "IP_INHDR")
      #expect(drop.place?.hasPrefix("ip_forward+0x") == true)
    }

    @Test func `no route`() async throws {
      let drop = try await drop(
        at: [.inboundIPPacketV4], prepare: "echo 1 > /proc/sys/net/ipv4/ip_forward"
      ) {
        Sender(in: "p1", to: "10.77.0.1").send(1)
      }
      #expect(drop.reason.contains("ROUTE") || drop.reason == "NOT_SPECIFIED")
    }

    @Test func `full socket buffer`() async throws {
      try await withTopology { _ in
        let socket = IdleSocket(port: 7, receiveBuffer: 1)
        let lives = try await lives(at: [.inboundIPPacketV4], count: 50) {
          Sender(in: "p1", to: "10.9.1.1").send(count: 50, size: 1000)
        }
        socket.close()
        let drops = lives.ends.filter { $0.reason == .dropped }
        #expect(drops.count > 10)
        #expect(
          drops.allSatisfy { lives.bridge.details(of: $0).dropReason == "SOCKET_RCVBUFF" })
        #expect(lives.ends.filter { $0.reason == .delivered }.count == 50 - drops.count)
      }
    }

    @Test(.disabled(if: countsCopies, "Bearers has it, told exactly"))
    func `copied by TEE, both copies`() async throws {
      try await withTopology(peers: 3) { topology in
        try topology.enableForwarding()
        try Shell.run(
          "iptables -t mangle -A POSTROUTING -p udp --dport 7 -j TEE --gateway 10.9.3.2")
        let lives = try await lives(at: [.ipForwardV4]) {
          Sender(in: "p1", to: "10.9.2.2").send(1)
        }
        #expect(lives.ends.first?.reason == .transmitted)
        #expect(lives.ends.first?.certainty == .observed)
        #expect(lives.story(of: 1).contains(.clonedByNetIO))
      }
    }

    @Test func `fragmented on output`() async throws {
      try await withTopology { _ in
        let receiver = Receiver(in: "p1")
        let lives = try await lives(at: [.outboundTransportV4]) {
          Sender(to: "10.9.1.2").send(9, size: 5000)
          try await expectSoon { receiver.count == 1 }
        }
        #expect(lives.ends.first?.reason == .transmitted)
        #expect(!lives.story(of: 9).contains(.clonedByNetIO))
      }
    }

    @Test func `TCP segments that are coalesced`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge {
          $0.lifecycle = .automatic
          $0.sweepAfter = .milliseconds(500)
        }
        let tag = bridge.makeTag(named: "t")
        try await running(
          bridge,
          policy([.inboundTransportV4], tags: [tag], protocolNumber: 6) { packet, out in
            try? out.associate(1, with: tag)
          }
        ) {
          let reader = try await listen()
          defer { reader.stop() }
          try Shell.run(
            "head -c 20000000 /dev/zero | ip netns exec p1 socat -u STDIN TCP:10.9.1.1:7")
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          let tagging = try await bridge.statistics().tagging
          #expect(tagging.associated == tagging.ended)
          #expect(tagging.ended(.lost) == 0)
          #expect(tagging.ended(.delivered) * 10 >= tagging.ended * 9)
        }
      }
    }

    @Test func `moved into another namespace`() async throws {
      try await withTopology { _ in
        let lives = try await lives(at: [.outboundTransportV4]) {
          // Nobody listens there, and what happens there is none of ours.
          Sender(to: "10.9.1.2").send(1)
        }
        #expect(lives.ends.first?.reason == .transmitted)
        #expect(lives.ends.first?.dropReason == 0)
      }
    }

    @Test func `mark overwritten by another rule`() async throws {
      try await withTopology { _ in
        try Shell.run("iptables -t mangle -A POSTROUTING -p udp --dport 7 -j MARK --set-mark 5")
        let lives = try await lives(
          at: [.outboundTransportV4],
          configure: {
            $0.sweepAfter = .milliseconds(300)
            $0.ignoresMarkConflicts = true
          }
        ) {
          Sender(to: "10.9.1.2").send(1)
        }
        #expect(lives.ends.first?.reason == .lost)
        #expect(lives.ends.first?.certainty == .inferred)
      }
    }

    @Test func `queue flushed by another program that deletes its table`() async throws {
      try await withTopology { _ in
        try Shell.run(
          "nft 'add table ip foe; add chain ip foe in { type filter hook input priority 5; }'")
        let held = HeldPackets()
        let lives = try await lives(
          at: [.outboundTransportV4], pended: { held.keep($0) },
          classify: { _, out, _ in out.pend(deadline: .seconds(60)) }
        ) {
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { held.count == 1 }
          try Shell.run("nft delete table ip foe")
        }
        #expect(lives.ends.first?.reason == .queueFlushed)
        held.permitAll()
      }
    }

    @Test func `device down while the packet waits for it`() async throws {
      try await withTopology { _ in
        let held = HeldPackets()
        let lives = try await lives(
          at: [.outboundIPPacketV4], pended: { held.keep($0) },
          classify: { _, out, _ in out.pend(deadline: .seconds(60)) }
        ) {
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { held.count == 1 }
          try Shell.run("ip link set a1 down")
        }
        #expect(lives.ends.first?.reason == .queueFlushed)
        held.permitAll()
      }
    }

    /// A program that reads TCP port 7.
    private func listen() async throws -> BackgroundProcess {
      let reader = try Shell.start("socat -u TCP-LISTEN:7,reuseaddr OPEN:/dev/null")
      try await expectSoon { try !Shell.run("ss -Hltn sport = :7").isEmpty }
      return reader
    }

    /// The kernel's words for the drop of one packet.
    private func drop(
      at layers: [Layer], peers: Int = 1, prepare: String = "true",
      during traffic: () async throws -> Void
    ) async throws -> (reason: String, place: String?) {
      var details = EventDetails()
      try await withTopology(peers: peers) { topology in
        if peers > 1 { try topology.enableForwarding() }
        try Shell.run(prepare)
        let lives = try await lives(at: layers, during: traffic)
        let end = try #require(lives.ends.first)
        #expect(end.reason == .dropped)
        #expect(end.certainty == .exact)
        details = lives.bridge.details(of: end)
      }
      return (details.dropReason ?? "", details.place)
    }
  }
}
