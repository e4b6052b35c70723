// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// Packets whose contents a callout changes; receivers check the checksums.
  @Suite struct Rewriting {
    @Test(arguments: [("10.9.1.77", "10.9.1.2"), ("fd09:1::77", "fd09:1::2")])
    func `UDP: address, port, hops and DSCP`(_ sham: String, _ real: String) async throws {
      let isIPv6 = sham.contains(":")
      try await withTopology { _ in
        try Shell.run(
          """
          ip neigh replace \(sham) lladdr 02:00:00:00:01:02 dev a1 nud permanent
          ip netns exec p1 nft 'add table inet w; \
          add chain inet w in { type filter hook input priority 0; }; \
          add rule inet w in udp dport 7 \(isIPv6 ? "ip6 hoplimit" : "ip ttl") 33 \
          \(isIPv6 ? "ip6" : "ip") dscp 46 counter'
          """)
        let target = try #require(IPAddress(real))
        let bridge = makeBridge()
        let layer: Layer = isIPv6 ? .outboundTransportV6 : .outboundTransportV4
        try await running(
          bridge,
          policy([layer], needs: .wholePacket) { packet, out in
            try? out.rewrite(packet) { edit throws(RewriteError) in
              try edit.setDestinationAddress(target)
              try edit.setDestinationPort(7)
              edit.setTimeToLive(33)
              try edit.setDSCP(46)
            }
          }
        ) {
          let receiver = Receiver(in: "p1", isIPv6: isIPv6)
          let sender = Sender(to: sham, port: 99)
          for number in 0..<20 { sender.send(UInt64(number), size: 12 + number * 67) }
          try await expectSoon { receiver.count == 20 }
          #expect(receiver.contents.sequences == (0..<20).map { UInt64($0) })
          #expect(receiver.contents.lastPayload.count == 12 + 19 * 67)
          #expect(receiver.contents.lastPayload.dropFirst(12).allSatisfy { $0 == 0x5a })
          #expect(
            try Shell.run("ip netns exec p1 nft list chain inet w in").contains("packets 20 "))
          #expect(try await bridge.statistics().queues[0].rewritten == 20)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test(arguments: [("10.9.1.77", "10.9.1.2"), ("fd09:1::77", "fd09:1::2")])
    func `TCP: bulk through a rewrite both ways`(_ sham: String, _ real: String) async throws {
      let isIPv6 = sham.contains(":")
      try await both(sham, real, protocolNumber: 6, ports: (80, 8080)) { bridge in
        let listen = "TCP\(isIPv6 ? 6 : 4)-LISTEN:8080,reuseaddr"
        let connect = isIPv6 ? "TCP6:[\(sham)]:80" : "TCP4:\(sham):80"
        try Shell.run("head -c 8000000 /dev/urandom > /run/sent")
        // One way each: socat that reads and writes at once can block on both.
        try await serving("socat -u \(listen) CREATE:/run/there") {
          try Shell.run("timeout 60 socat -u OPEN:/run/sent \(connect)")
          try await expectSoon { try Shell.run("cmp /run/sent /run/there || true").isEmpty }
        }
        try await serving("socat -u OPEN:/run/sent \(listen)") {
          try Shell.run("timeout 60 socat -u \(connect) - > /run/back; cmp /run/sent /run/back")
        }
        let queue = try await bridge.statistics().queues[0]
        #expect(queue.rewritten > 0)
        #expect(queue.rewritesRefused == 0)
        // Super-frames: far fewer packets than segments.
        #expect(queue.bytes / queue.packets > 2000, "\(queue.bytes) in \(queue.packets)")
      }
    }

    private func serving(_ command: String, _ body: () async throws -> Void) async throws {
      let server = try Shell.start("ip netns exec p1 \(command)")
      defer { server.stop() }
      try await expectSoon { try Shell.run("ip netns exec p1 ss -ltn").contains(":8080") }
      try await body()
    }

    @Test(arguments: [("10.9.1.77", "10.9.1.2"), ("fd09:1::77", "fd09:1::2")])
    func `ICMP: echo through a rewrite both ways`(_ sham: String, _ real: String) async throws {
      try await both(sham, real, protocolNumber: sham.contains(":") ? 58 : 1, ports: nil) { _ in
        let text = try Shell.run("ping -c 3 -i 0.05 -W 5 -s 200 \(sham)")
        #expect(text.contains("3 received") || text.contains(" 0% packet loss"))
      }
    }

    @Test func `A truncated packet is refused and goes on as it was`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let refusals = Shared<[RewriteError]>([])
        try await running(
          bridge,
          policy([.outboundTransportV4]) { packet, out in
            do throws(RewriteError) {
              try out.rewrite(packet) { edit throws(RewriteError) in edit.setTimeToLive(33) }
            } catch {
              refusals.change { $0.append(error) }
            }
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(1, size: 1000)
          try await expectSoon { receiver.count == 1 }
          #expect(refusals.value == [.truncated])
          #expect(try await bridge.statistics().queues[0].rewritesRefused == 1)
        }
      }
    }

    /// OUTPUT turns the sham address into the real one, PREROUTING turns it back.
    private func both(
      _ sham: String, _ real: String, protocolNumber: UInt8, ports: (UInt16, UInt16)?,
      _ body: (Bridge) async throws -> Void
    ) async throws {
      try await withTopology { _ in
        try Shell.run(
          "ip neigh replace \(sham) lladdr 02:00:00:00:01:02 dev a1 nud permanent")
        let shamAddress = try #require(IPAddress(sham))
        let realAddress = try #require(IPAddress(real))
        let bridge = makeBridge()
        let layers: [Layer] =
          sham.contains(":")
          ? [.outboundTransportV6, .inboundIPPacketV6] : [.outboundTransportV4, .inboundIPPacketV4]
        try await running(
          bridge,
          policy(layers, needs: .wholePacket, protocolNumber: protocolNumber) { packet, out in
            if packet.hook == .output, packet.layout.destinationAddress == shamAddress {
              try? out.rewrite(packet) { edit throws(RewriteError) in
                try edit.setDestinationAddress(realAddress)
                if let ports { try edit.setDestinationPort(ports.1) }
              }
            } else if packet.hook == .prerouting, packet.layout.sourceAddress == realAddress {
              try? out.rewrite(packet) { edit throws(RewriteError) in
                try edit.setSourceAddress(shamAddress)
                if let ports { try edit.setSourcePort(ports.0) }
              }
            }
          }
        ) { try await body(bridge) }
      }
    }
  }
}
