// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

extension NetnsTests {
  /// Packets that are routed through, and marks that conntrack plays back.
  @Suite struct Forwarding {
    @Test(arguments: ["", "DNAT", "SNAT"])
    func `A context from PREROUTING is found at FORWARD and POSTROUTING`(_ nat: String)
      async throws
    {
      try await withTopology(peers: 2) { topology in
        try topology.enableForwarding()
        if nat.contains("DNAT") {
          try Shell.run(
            "iptables -t nat -A PREROUTING -p udp --dport 7 -j DNAT --to 10.9.2.2:9")
        }
        if nat.contains("SNAT") {
          try Shell.run("iptables -t nat -A POSTROUTING -p udp -o a2 -j SNAT --to 10.9.2.1:4000")
        }
        let isTranslated = nat.contains("DNAT")
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let found = Shared<[Hook: [UInt64?]]>([:])
        try await running(
          bridge,
          policy([.inboundIPPacketV4, .ipForwardV4, .outboundIPPacketV4], tags: [tag]) {
            packet, out in
            if packet.hook == .prerouting {
              try? out.associate(packet.sequence, with: tag, notify: notify)
            } else {
              let hook = packet.hook
              let context = try? out.retrieve(tag)
              found.change { $0[hook, default: []].append(context) }
            }
          }
        ) {
          let receiver = Receiver(in: "p2", port: isTranslated ? 9 : 7)
          Sender(in: "p1", to: isTranslated ? "10.9.1.1" : "10.9.2.2").send(count: 20)
          try await expectSoon { receiver.count == 20 }
          let all = (0..<20).map { UInt64?($0) }
          #expect(found.value == [.forward: all, .postrouting: all])
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          #expect(try await bridge.statistics().tagging.foreignFlows == 0)
          try await expectAccounting(bridge)
        }
        #expect(log.reasons() == [RemovalReason](repeating: .released, count: 20))
      }
    }

    @Test func `A replayed connmark never brings a wrong context to the reverse flow`() async throws
    {
      try await withTopology { _ in
        // Saved after our hook has marked the packet, restored on what comes back.
        try Shell.run(
          """
          iptables -t mangle -A OUTPUT -p udp --dport 7 -j CONNMARK --save-mark
          nft 'add table ip back; add chain ip back pre { type filter hook prerouting priority -160; };
          add rule ip back pre udp sport 7 meta mark set ct mark counter'
          """)
        let bridge = makeBridge { $0.ignoresMarkConflicts = true }
        let tag = bridge.makeTag(named: "t")
        let wrong = Shared(0)
        let returned = Shared(0)
        let marks = Shared(0)
        let held = HeldPackets()
        try await running(
          bridge,
          policy(
            [.outboundTransportV4, .outboundIPPacketV4, .inboundIPPacketV4], tags: [tag],
            pended: { held.keep($0) }
          ) { packet, out in
            switch packet.hook {
            case .output: try? out.associate(packet.sequence, with: tag)
            case .postrouting:
              // The first packet's context lives as long as the replies come.
              if packet.sequence == 1 { out.pend(deadline: .seconds(60)) }
              if (try? out.retrieve(tag)) != packet.sequence { wrong.change { $0 += 1 } }
            default:
              returned.change { $0 += 1 }
              if packet.metadata.mark & wideMask != 0 { marks.change { $0 += 1 } }
              if out.bears(tag) { wrong.change { $0 += 1 } }
            }
          }
        ) {
          let sender = Sender(to: "10.9.1.2", from: 5000)
          // Sent at once, both would make the conntrack entry, and the first one's mark would win.
          sender.send(0)
          try await expectSoon { try await bridge.statistics().tagging.ended == 1 }
          sender.send(1)
          try await expectSoon { held.count == 1 }
          let back = Sender(in: "p1", to: "10.9.1.1", port: 5000, from: 7)
          back.send(count: 50, first: 100)
          try await expectSoon { returned.value == 50 }
          #expect(wrong.value == 0)
          #expect(marks.value == 50, "conntrack should have played the mark back")
          let tagging = try await bridge.statistics().tagging
          #expect(tagging.foreignFlows + tagging.staleHandles == 50)
          #expect(tagging.foreignFlows > 0)
          held.permitAll()
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
        }
      }
    }

    @Test func `A replayed connmark never brings a wrong context to later packets`() async throws {
      try await withTopology { _ in
        try Shell.run(
          """
          nft 'add table ip back; add chain ip back out { type filter hook output priority -160; };
          add rule ip back out udp dport 7 meta mark set ct mark counter
          add chain ip back save { type filter hook output priority -140; };
          add rule ip back save udp dport 7 ct mark set meta mark'
          """)
        let bridge = makeBridge {
          $0.ignoresMarkConflicts = true
          $0.mark = .mask(0xfff00)
        }
        let tag = bridge.makeTag(named: "t")
        let wrong = Shared<[String]>([])
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            if packet.hook == .output {
              let sequence = packet.sequence
              if out.bears(tag) { wrong.change { $0.append("output \(sequence)") } }
              try? out.associate(packet.sequence, with: tag)
            } else if let context = try? out.retrieve(tag), context != packet.sequence {
              let sequence = packet.sequence
              wrong.change { $0.append("postrouting \(sequence): \(context)") }
            }
          }
        ) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 5000)
          try await expectSoon { receiver.count == 5000 }
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          #expect(wrong.value.isEmpty, "\(wrong.value.count): \(wrong.value.prefix(3))")
          let tagging = try await bridge.statistics().tagging
          #expect(tagging.staleHandles + tagging.foreignFlows + tagging.copies > 0)
        }
      }
    }
  }
}
