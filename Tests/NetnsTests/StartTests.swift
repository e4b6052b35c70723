// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import FirewallRules
import PacketTagging
import Testing

extension NetnsTests {
  /// What `start` refuses, and that a refusal leaves everything as it was.
  @Suite struct Starting {
    @Test func `A queue that another bridge owns: the error names its port`() async throws {
      try await withTopology { _ in
        let first = makeBridge()
        try await running(first, policy([.outboundTransportV4]) { _, out in out.permit() }) {
          let rules = try Shell.run(
            "nft -a list table inet callout | sed 's/packets .*bytes [0-9]*//'")
          let port = try await first.statistics().queues[0].portID
          let second = makeBridge()
          do throws(BridgeError) {
            try await second.start(policy([.outboundTransportV4]) { _, _ in })
            Issue.record("two owners of one queue")
          } catch {
            guard case .queue(.owned(let queue, let owner, _)) = error else {
              Issue.record("\(error)")
              return
            }
            #expect(queue == 31000)
            #expect(owner == port)
            #expect(error.description.contains("\(port)"))
          }
          // The running bridge keeps its rules, and its packets.
          #expect(
            try Shell.run("nft -a list table inet callout | sed 's/packets .*bytes [0-9]*//'")
              == rules)
          Sender(to: "10.9.1.2").send(count: 5)
          try await expectSoon { try await first.statistics().queues[0].permitted == 5 }
        }
      }
    }

    @Test func `A start that failed can be repeated, and then tells of events`() async throws {
      try await withTopology { _ in
        let blocker = makeBridge {
          $0.firstQueue = 31001
          $0.rules = .unmanaged
        }
        try await blocker.start(policy([.outboundTransportV4]) { _, _ in })
        let bridge = makeBridge { $0.queueCount = 2 }
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let tagging = policy([.outboundTransportV4], tags: [tag]) { packet, out in
          try? out.associate(packet.sequence, with: tag, notify: notify)
        }
        await #expect(throws: BridgeError.self) { try await bridge.start(tagging) }
        #expect(try Shell.run("nft list tables").isEmpty)
        _ = await blocker.stop()
        try await running(bridge, tagging) {
          Sender(to: "10.9.1.2").send(3)
          try await expectSoon { log.kinds == [.exitNetIO, .contextRemoved] }
        }
      }
    }

    @Test func `A start that is refused leaves another bridge's rules in its table`() async throws {
      try await withTopology { _ in
        let first = makeBridge()
        try await running(first, policy([.outboundTransportV4]) { _, out in out.permit() }) {
          let second = makeBridge { $0.firstQueue = 32000 }
          await #expect(throws: BridgeError.self) {
            try await second.start(policy([.outboundTransportV4]) { _, _ in })
          }
          Sender(to: "10.9.1.2").send(count: 5)
          try await expectSoon { try await first.statistics().queues[0].permitted == 5 }
          #expect(try await first.statistics().isHealthy)
        }
      }
    }

    @Test func `A start whose IPv6 rules iptables refuses leaves nothing behind`() async throws {
      try await withTopology { _ in
        try Shell.run(
          "nft 'add table ip6 mangle; add chain ip6 mangle CALLOUT-OUTPUT "
            + "{ type filter hook output priority 5; }'")
        let bridge = makeBridge { $0.rules = .managed(.iptables) }
        let both = policy([.outboundTransportV4, .outboundTransportV6]) { _, out in out.permit() }
        await #expect(throws: BridgeError.self) { try await bridge.start(both) }
        let left = try Shell.run("iptables-save -t mangle")
        #expect(!left.contains("CALLOUT"))
        try Shell.run("nft delete table ip6 mangle")
        try await running(bridge, both) {
          let isHealthy = try await bridge.statistics().isHealthy
          #expect(isHealthy)
        }
      }
    }

    @Test func `A mark mask that a rule uses: the error names the rule`() async throws {
      try await withTopology { _ in
        try Shell.run(
          "iptables -t mangle -A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT")
        let bridge = makeBridge()
        do throws(BridgeError) {
          try await bridge.start(policy([.outboundTransportV4]) { _, _ in })
          Issue.record("a conflict was overlooked")
        } catch {
          guard case .markConflict(let mask, let uses) = error else {
            Issue.record("\(error)")
            return
          }
          #expect(mask == wideMask)
          #expect(uses.count == 1)
          #expect(uses[0].contains("0x4000"))
          #expect(uses[0].contains("FORWARD"))
        }
        #expect(!(try Shell.run("nft list tables").contains("callout")))
      }
    }

    @Test(arguments: [0x0f0f_0000, 0x7f00, 0xffff_ffff, 0] as [UInt32])
    func `A mark mask that is no run of 8 to 24 bits`(_ mask: UInt32) async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.mark = .mask(mask) }
        do throws(BridgeError) {
          try await bridge.start(policy([.outboundTransportV4]) { _, _ in })
          Issue.record("0x\(String(mask, radix: 16)) was taken")
        } catch {
          guard case .badMask(mask) = error else {
            Issue.record("\(error)")
            return
          }
        }
      }
    }
  }
}
