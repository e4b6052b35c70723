// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

extension NetnsTests {
  /// WFP's events from what the kernel really did.
  @Suite struct Lifecycle {
    @Test func `F12: entered_netio comes once, at the first hook, and for a clone that is sent`()
      async throws
    {
      try await withTopology { _ in
        let lives = try await lives(
          at: [.outboundTransportV4, .outboundIPPacketV4], count: 2,
          classify: { packet, out, tag in
            guard packet.layer == .outboundTransportV4, !packet.metadata.isInjected,
              var clone = try? out.clone(packet)
            else { return }
            try? out.copy(tag, to: &clone)
            try? clone.injectSend()
          }
        ) {
          Sender(to: "10.9.1.2").send(6)
        }
        let handles = Set(lives.events.map(\.handle))
        #expect(handles.count == 2)
        for handle in handles {
          let story = lives.events.filter { $0.handle == handle }.map(\.kind)
          #expect(story.filter { $0 == .enteredNetIO }.count == 1)
          #expect(story.first == .enteredNetIO)
        }
      }
    }

    @Test func `F13: exit_netio comes at the last hook, before the packet is let go`() async throws
    {
      try await withTopology { _ in
        let lives = try await lives(at: [.outboundTransportV4, .outboundIPPacketV4]) {
          Sender(to: "10.9.1.2").send(1)
        }
        let exit = try #require(lives.events.first { $0.kind == .exitNetIO })
        let sent = try #require(lives.events.first { $0.kind == .sendComplete })
        #expect(exit.layer == Layer.outboundIPPacketV4.rawValue)
        #expect(exit.time <= sent.time)
      }
    }

    @Test func `F14: a datagram that is sent exits, then its context is removed`() async throws {
      try await withTopology { _ in
        let lives = try await lives(at: [.outboundTransportV4]) {
          Sender(to: "10.9.1.2").send(1)
        }
        #expect(
          lives.story(of: 1) == [.enteredNetIO, .exitNetIO, .sendComplete, .contextRemoved])
        let times = lives.events.map(\.time)
        #expect(times == times.sorted())
      }
    }

    @Test(arguments: [
      ("accept", RemovalReason.delivered), ("drop", .blocked), ("timeout", .expired),
    ])
    func `F15: one terminal event of an inbound packet`(_ how: String, _ reason: RemovalReason)
      async throws
    {
      try await withTopology { _ in
        let receiver = Receiver()
        let held = HeldPackets()
        let lives = try await lives(
          at: [.inboundIPPacketV4], configure: { $0.failurePolicy = .block },
          pended: { held.keep($0) },
          classify: { _, out, _ in
            if how == "drop" { out.block() }
            if how == "timeout" { out.pend(deadline: .milliseconds(30)) }
          }
        ) {
          Sender(in: "p1", to: "10.9.1.1").send(1)
        }
        #expect(lives.ends.map(\.reason) == [reason])
        #expect(lives.events.last?.kind == .contextRemoved)
        #expect(receiver.count == (how == "accept" ? 1 : 0))
        held.permitAll()
      }
    }

    @Test(
      .enabled(if: Copies.hasBridgeNetfilter, "br_netfilter has no switches in this namespace"))
    func `F16: a frame flooded to three ports: two clones with ids of their own`() async throws {
      try await withTopology(peers: 4) { _ in
        try bridgeAll(4)
        let lives = try await lives(
          at: [.inboundIPPacketV4, .ipForwardV4, .outboundIPPacketV4]
        ) {
          // Nobody has that address.
          Sender(in: "p1", to: "10.9.1.99").send(8)
        }
        let clones = lives.events.filter { $0.kind == .clonedByNetIO && $0.otherPacketID != 0 }
        #expect(clones.count == 2)
        #expect(Set(clones.map(\.otherPacketID)).count == 2)
        #expect(lives.ends.map(\.reason) == [.transmitted])
      }
    }

    @Test func `F18: nft dup: the copy is a duplicate, and both are followed`() async throws {
      try await withTopology(peers: 3) { topology in
        try topology.enableForwarding()
        try Shell.run(
          """
          nft 'add table ip tap; add chain ip tap pre { type filter hook prerouting priority -120; }; \
          add rule ip tap pre udp dport 7 dup to 10.9.2.2 device a2'
          """)
        let lives = try await lives(
          at: [.inboundIPPacketV4, .ipForwardV4, .outboundTransportV4]
        ) {
          Sender(in: "p1", to: "10.9.3.2").send(4)
        }
        #expect(lives.events.filter { $0.kind == .duplicatedByNetIO }.count == 1)
        #expect(lives.ends.map(\.reason) == [.transmitted])
      }
    }

    @Test(arguments: [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
    func `F21: fragments: the first one's context is on the whole packet`(_ order: [Int])
      async throws
    {
      try await withTopology { _ in
        let receiver = Receiver()
        let atInput = Shared<[UInt64?]>([])
        let lives = try await lives(
          at: [.inboundIPPacketV4, .inboundTransportV4], count: 4,
          context: { UInt64($0.layout.fragmentOffset) },
          classify: { packet, out, tag in
            guard packet.layer == .inboundTransportV4 else { return }
            let context = try? out.retrieve(tag)
            atInput.change { $0.append(context) }
          }
        ) {
          FragmentSender(in: "p1").send(order)
          try await expectSoon { receiver.count == 1 }
        }
        #expect(atInput.value == [0])
        #expect(lives.story(of: 0).contains(.reassemblyComplete))
        #expect(lives.ends.first { $0.context == 0 }?.reason == .delivered)
        for other: UInt64 in [8, 16, 24] {
          #expect(lives.story(of: other).contains(.reassembledFragment))
          #expect(lives.ends.first { $0.context == other }?.reason == .reassembled)
        }
      }
    }

    @Test(
      .enabled(if: Copies.hasBridgeNetfilter, "br_netfilter has no switches in this namespace"))
    func `F22: a tag put on at a bridge port is found at IP input, and one from output at a port`()
      async throws
    {
      try await withTopology(peers: 2) { _ in
        try bridgeAll(2)
        let found = Shared<[Layer: UInt64]>([:])
        let receiver = Receiver()
        let inbound = try await lives(
          at: [.inboundIPPacketV4, .inboundTransportV4],
          classify: { packet, out, tag in
            guard packet.layer == .inboundTransportV4 else { return }
            let context = try? out.retrieve(tag)
            found.change { $0[.inboundTransportV4] = context }
          }
        ) {
          Sender(in: "p1", to: "10.9.1.1").send(5)
          try await expectSoon { receiver.count == 1 }
        }
        #expect(inbound.ends.map(\.reason) == [.delivered])
        let outbound = try await lives(
          at: [.outboundTransportV4, .outboundIPPacketV4],
          classify: { packet, out, tag in
            guard packet.layer == .outboundIPPacketV4 else { return }
            let context = try? out.retrieve(tag)
            found.change { $0[.outboundIPPacketV4] = context }
          }
        ) {
          Sender(to: "10.9.1.2").send(6)
        }
        #expect(outbound.ends.map(\.reason) == [.transmitted])
        #expect(found.value == [.inboundTransportV4: 5, .outboundIPPacketV4: 6])
      }
    }

    /// Puts the ends of all pairs here into one bridge that iptables and nft see, with this host on it.
    private func bridgeAll(_ peers: Int) throws {
      try Shell.run(
        """
        ip link add br0 type bridge; ip link set br0 up
        for n in $(seq \(peers)); do ip addr flush dev a$n; ip link set a$n master br0; done
        ip link set br0 address 02:00:00:00:01:01
        ip addr add 10.9.1.1/24 dev br0
        ip neigh replace 10.9.1.2 lladdr 02:00:00:00:01:02 dev br0 nud permanent
        echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
        ip -n p1 route add 10.9.1.99/32 dev b1
        ip -n p1 neigh replace 10.9.1.99 lladdr 02:00:00:00:77:77 dev b1 nud permanent
        """)
    }
  }
}
