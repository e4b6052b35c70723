// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

extension NetnsTests {
  /// Copies that the kernel makes, and packets that come back by the loopback device.
  @Suite struct Copies {
    @Test(arguments: CopyDisposition.allCases)
    func `TEE: the copy is a duplicate and follows its tag's disposition`(
      _ disposition: CopyDisposition
    ) async throws {
      try await duplicated(disposition) {
        // Made before our hook of the same priority, so it runs after it.
        try Shell.run("iptables -t mangle -A PREROUTING -p udp --dport 7 -j TEE --gateway 10.9.2.2")
      }
    }

    @Test(arguments: CopyDisposition.allCases)
    func `nft dup: the copy is a duplicate and follows its tag's disposition`(
      _ disposition: CopyDisposition
    ) async throws {
      try await duplicated(disposition) {
        try Shell.run(
          """
          nft 'add table ip tap; add chain ip tap pre { type filter hook prerouting priority -120; }; \
          add rule ip tap pre udp dport 7 dup to 10.9.2.2 device a2'
          """)
      }
    }

    /// From p1 through this host to p3; the copy leaves by OUTPUT.
    ///
    /// Where our hook changes its mark
    /// there, the kernel routes it anew: to p3, or for a packet to this host round for ever.
    private func duplicated(_ disposition: CopyDisposition, _ tap: () throws -> Void) async throws {
      try await withTopology(peers: 3) { topology in
        try topology.enableForwarding()
        try tap()
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t", onCopy: disposition)
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let found = Shared<[Hook: [String]]>([:])
        try await running(
          bridge,
          policy([.inboundIPPacketV4, .ipForwardV4, .outboundTransportV4], tags: [tag]) {
            packet, out in
            let hook = packet.hook
            if hook == .prerouting {
              try? out.associate(packet.sequence, with: tag, notify: notify)
              return
            }
            let context = (try? out.retrieve(tag)).map(String.init) ?? "none"
            found.change { $0[hook, default: []].append(context) }
          }
        ) {
          let receiver = Receiver(in: "p3")
          Sender(in: "p1", to: "10.9.3.2").send(count: 3, first: 40)
          try await expectSoon { Set(receiver.contents.sequences) == [40, 41, 42] }
          try await expectSoon { found.value[.output]?.count == 3 }
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          let all = ["40", "41", "42"]
          let none = ["none", "none", "none"]
          #expect(found.value[.output] == (disposition == .detach ? none : all))
          #expect(found.value[.forward] == (disposition == .move ? none : all))
          let tagging = try await bridge.statistics().tagging
          #expect(tagging.copies == 3)
          #expect(tagging.associated == (disposition == .move ? 6 : 3))
        }
        #expect(log.all.filter { $0.kind == .duplicatedByNetIO }.count == 3)
        for context: UInt64 in [40, 41, 42] {
          let events = log.all.filter { $0.context == context }
          let ends = events.filter { $0.kind == .contextRemoved }.map(\.reason)
          #expect(ends.count == (disposition == .move ? 2 : 1))
          #expect(ends.contains(.released))
          if disposition == .move { #expect(ends.contains(.movedToClone)) }
          #expect(events.last?.kind == .contextRemoved)
        }
      }
    }

    @Test func `Multicast to a group joined here: POSTROUTING sees the copy`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let found = Shared<[UInt64?]>([])
        try Shell.run("ip route add 239.9.9.9/32 dev a1")
        let receiver = Receiver(group: "239.9.9.9")
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            if packet.hook == .output {
              try? out.associate(packet.sequence, with: tag, notify: notify)
            } else {
              let context = try? out.retrieve(tag)
              found.change { $0.append(context) }
              // Let go at once, the first would end the context before the second comes.
              out.hold(for: .milliseconds(50), thenPermit: true)
            }
          }
        ) {
          Sender(to: "239.9.9.9").send(5)
          try await expectSoon { receiver.count == 1 && found.value.count == 2 }
          #expect(found.value == [5, 5])
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
        }
        #expect(log.all.filter { $0.kind == .duplicatedByNetIO }.count == 1)
        #expect(log.reasons() == [.released])
      }
    }

    static let hasBridgeNetfilter = FileManager.default.fileExists(
      atPath: "/proc/sys/net/bridge/bridge-nf-call-iptables")

    @Test(.enabled(if: hasBridgeNetfilter, "br_netfilter has no switches in this namespace"))
    func `Flooding over a bridge: the copies are clones`() async throws {
      try await withTopology(peers: 3) { _ in
        try Shell.run(
          """
          ip link add br0 type bridge; ip link set br0 up
          for n in 1 2 3; do ip addr flush dev a$n; ip link set a$n master br0; done
          ip link set br0 address 02:00:00:00:00:99
          ip addr add 10.9.1.1/24 dev br0
          echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
          ip -n p1 route add 10.9.1.99/32 dev b1
          ip -n p1 neigh replace 10.9.1.99 lladdr 02:00:00:00:77:77 dev b1 nud permanent
          """)
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let found = Shared<[UInt64?]>([])
        try await running(
          bridge,
          policy([.inboundIPPacketV4, .ipForwardV4, .outboundIPPacketV4], tags: [tag]) {
            packet, out in
            if packet.hook == .prerouting {
              try? out.associate(packet.sequence, with: tag, notify: notify)
            } else if packet.hook == .postrouting {
              let context = try? out.retrieve(tag)
              found.change { $0.append(context) }
            }
          }
        ) {
          // Nobody has that address, so the frame is flooded to p2 and p3.
          Sender(in: "p1", to: "10.9.1.99").send(8)
          try await expectSoon { found.value.count == 2 }
          #expect(found.value == [8, 8])
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
        }
        #expect(log.kinds.contains(.clonedByNetIO))
        #expect(!log.kinds.contains(.duplicatedByNetIO))
        #expect(log.reasons() == [.released])
      }
    }

    @Test(arguments: [("127.0.0.1", false), ("::1", true)])
    func `Loopback: a context from OUTPUT is found at INPUT`(_ address: String, _ isIPv6: Bool)
      async throws
    {
      try await withTopology { _ in
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let log = EventLog()
        let notify = bridge.registerNotify("log") { log.note($0) }
        let found = Shared<[UInt64?]>([])
        let layers: [Layer] =
          isIPv6
          ? [.outboundTransportV6, .inboundTransportV6]
          : [.outboundTransportV4, .inboundTransportV4]
        try await running(
          bridge,
          policy(layers, tags: [tag]) { packet, out in
            if packet.hook == .output {
              try? out.associate(packet.sequence, with: tag, notify: notify)
            } else {
              let context = try? out.retrieve(tag)
              found.change { $0.append(context) }
            }
          }
        ) {
          let receiver = Receiver(isIPv6: isIPv6)
          Sender(to: address).send(count: 10)
          try await expectSoon { receiver.count == 10 && found.value.count == 10 }
          #expect(found.value == (0..<10).map { UInt64($0) })
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          #expect(try await bridge.statistics().tagging.copies == 0)
        }
        #expect(log.reasons() == [RemovalReason](repeating: .released, count: 10))
      }
    }
  }
}
