// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// The virtual-switch layers where the kernel can queue no frames of bridges.
  @Suite(.enabled(if: !hasBridgeQueue, "this kernel queues frames of bridges"))
  struct VirtualSwitchRefusal {
    @Test(arguments: [Layer.ingressVSwitchEthernet, .egressVSwitchEthernet])
    func `F24: a policy with a layer of virtual switches is refused, and says what to do`(
      layer: Layer
    ) async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let all = framePolicy([layer]) { _, _ in }
        let error = await #expect(throws: BridgeError.self) { try await bridge.start(all) }
        guard case .layerNotServed(layer, _)? = error else {
          Issue.record("\(String(describing: error))")
          return
        }
        let text = error?.description ?? ""
        #expect(
          text.contains(layer.name) && text.contains("nft_queue") && text.contains("MAC layers"))
        #expect(try Shell.run("nft list tables").isEmpty)
        // A running one keeps its policy.
        try await running(bridge, policy([.outboundTransportV4]) { _, _ in }) {
          await #expect(throws: BridgeError.self) { try await bridge.apply(all) }
          let isHealthy = try await bridge.statistics().isHealthy
          #expect(isHealthy)
        }
        let findings = await Bridge.probe().filter { $0.name == "vswitch-ethernet" }
        #expect(findings.count == 1 && findings.allSatisfy { $0.support != .supported })
      }
    }
  }

  /// The virtual-switch layers, with real frames through a bridge of three ports.
  @Suite(
    .enabled(
      if: hasBridgeQueue, "no nft queue in this kernel's bridge family: run make guest-test"))
  struct VirtualSwitch {
    @Test func `F28: frames are met as they enter and leave, with ports, addresses and VLAN`()
      async throws
    {
      try await withSwitch { net in
        let seen = Shared<[SwitchedFrame]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          framePolicy(switchLayers) { frame, _ in seen.change { $0.append(SwitchedFrame(frame)) } }
        ) {
          let receiver = Receiver(in: "p2")
          let here = Receiver()
          Sender(in: "p1", to: "10.9.1.3").send(8)
          Sender(in: "p1", to: "10.9.5.3").send(9)
          Sender(to: "10.9.1.3").send(10)
          Sender(in: "p1", to: "10.9.1.1").send(11)
          try await expectSoon { receiver.count == 3 && here.count == 1 }
          let (one, two) = (net.station(1), net.station(2))
          let through = [net.port(1), net.port(2)]
          for (sequence, vlan) in [(8, 0), (9, 5)] as [(UInt64, UInt16)] {
            let both = seen.value.filter { $0.sequence == sequence }
            #expect(both.map(\.layer) == switchLayers)
            #expect(both.map(\.ports) == [[through[0], nil], through])
            #expect(both.map(\.types) == [[.synthetic, nil], [.synthetic, .synthetic]])
            #expect(both.map(\.network) == [.internal, .internal])
            for frame in both {
              #expect(frame.addresses == [one, two] && frame.bridge == net.bridge)
              #expect(frame.vlan == vlan && frame.isWellFormed && frame.beginsWithMAC)
            }
          }
          // What this host sends has the bridge itself for its source, and what it gets has no end.
          let sent = seen.value.filter { $0.sequence == 10 }
          #expect(sent.map(\.layer) == [.egressVSwitchEthernet])
          #expect(sent.map(\.ports) == [[net.bridge, net.port(2)]])
          #expect(sent.map(\.types) == [[.internal, .synthetic]])
          let got = seen.value.filter { $0.sequence == 11 }
          #expect(got.map(\.layer) == [.ingressVSwitchEthernet])
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `one station is blocked by its address, ARP and all`() async throws {
      try await withSwitch { net in
        let isBlocked = Filter(
          name: "p1", layer: .ingressVSwitchEthernet,
          conditions: [Condition(.macSourceAddress, .equal(UInt128(net.station(1).rawValue)))],
          action: .block)
        let bridge = makeBridge()
        try await running(bridge, FilterPolicy(filters: [isBlocked])) {
          let receiver = Receiver(in: "p2")
          try Shell.run("ip -n p1 neigh del 10.9.1.3 dev b1; ip -n p3 neigh flush dev b3")
          let blocked = try? Shell.run("ip netns exec p1 ping -c 2 -W 1 10.9.1.3")
          #expect(blocked == nil)
          // ARP, ping and TCP of another pass.
          try Shell.run("ip netns exec p3 ping -c 2 -W 5 10.9.1.3")
          Sender(in: "p3", to: "10.9.1.3").send(3)
          try await expectSoon { receiver.count == 1 }
          let hits = try await bridge.statistics().filterHits
          #expect(hits.first ?? 0 >= 2, "\(hits)")
        }
      }
    }

    @Test func `TCP runs through both layers, its segments unbroken`() async throws {
      try await withSwitch { _ in
        let bridge = makeBridge()
        let longest = Shared<UInt32>(0)
        try await running(
          bridge,
          framePolicy(switchLayers) { frame, _ in
            let length = frame.metadata.originalLength
            longest.change { $0 = max($0, length) }
          }
        ) {
          try Shell.run(
            """
            timeout 60 ip netns exec p2 socat -u TCP-LISTEN:9000,reuseaddr SYSTEM:'sha256sum >/tmp/callout-vswitch' &
            head -c 3000000 /dev/zero >/tmp/callout-vswitch-in
            for n in $(seq 100); do ip netns exec p2 ss -ltn | grep -q 9000 && break; sleep 0.1; done
            timeout 60 ip netns exec p1 socat -u OPEN:/tmp/callout-vswitch-in TCP:10.9.1.3:9000
            wait
            """)
          let sums = try Shell.run(
            "cut -c1-64 /tmp/callout-vswitch; sha256sum /tmp/callout-vswitch-in | cut -c1-64")
          let lines = sums.split(separator: "\n")
          #expect(lines.count == 2 && lines.first == lines.last)
          #expect(longest.value > 1514, "super-frames come whole")
          try await expectAccounting(bridge)
        }
        try Shell.run("rm -f /tmp/callout-vswitch /tmp/callout-vswitch-in")
      }
    }

    @Test func `frames are absorbed, held, pended and repeated`() async throws {
      try await withSwitch { _ in
        let held = Shared<[Layer]>([])
        let rounds = Shared(0)
        let bridge = makeBridge()
        let registration = CalloutRegistration(name: "test", neededBytes: .wholePacket) {
          PendingFrames { frame, out in
            switch (frame.sequence, frame.layer) {
            case (1, .ingressVSwitchEthernet): out.absorb()
            case (2, .egressVSwitchEthernet): out.hold(for: .milliseconds(300), thenPermit: true)
            case (3, .ingressVSwitchEthernet): out.hold(for: .milliseconds(1), thenPermit: false)
            case (4, .egressVSwitchEthernet), (5, .ingressVSwitchEthernet): out.pend()
            case (6, .ingressVSwitchEthernet):
              rounds.change { $0 += 1 }
              if rounds.value < 3 { out.repeat() }
            default: break
            }
          } pended: { frame in
            let layer = frame.layer
            held.change { $0.append(layer) }
            // The frame's own sequence number lies behind Ethernet, IP and UDP headers.
            if frame.bytes.count > 49, frame.bytes[49] == 4 {
              frame.permit()
            } else {
              frame.block()
            }
          }
        }
        try await running(
          bridge,
          FilterPolicy(
            callouts: [registration],
            filters: switchLayers.map {
              Filter(name: $0.name, layer: $0, action: .calloutUnknown("test"))
            })
        ) {
          let receiver = Receiver(in: "p2")
          for number: UInt64 in 0...7 { Sender(in: "p1", to: "10.9.1.3").send(number) }
          try await expectSoon { receiver.count == 5 }
          #expect(receiver.contents.sequences.sorted() == [0, 2, 4, 6, 7])
          #expect(held.value.count == 2 && Set(held.value) == Set(switchLayers))
          #expect(rounds.value == 3)
          try await expectSoon { try await isQuiet(bridge) }
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `F78: addresses are written over and a tag put on or changed, none taken away`()
      async throws
    {
      try await withSwitch { net in
        let refused = Shared<[FrameRewriteError]>([])
        let leaving = Shared<[SwitchedFrame]>([])
        let two = net.station(2)
        let bridge = makeBridge()
        try await running(
          bridge,
          framePolicy(switchLayers) { frame, out in
            guard let sequence = frame.sequence else { return }
            if frame.layer == .egressVSwitchEthernet {
              return leaving.change { $0.append(SwitchedFrame(frame)) }
            }
            do throws(FrameRewriteError) {
              try out.rewrite(frame) { edit throws(FrameRewriteError) in
                switch sequence {
                case 1: edit.setDestination(two)
                case 2: try edit.pushTag(VLANTag(.vlan, control: 5))
                case 3: try edit.setTagControl(6)
                default: try edit.popTag()
                }
              }
            } catch {
              refused.change { $0.append(error) }
            }
          }
        ) {
          let receiver = Receiver(in: "p2")
          // 10.9.1.98 is p2 with another station's address.
          Sender(in: "p1", to: "10.9.1.98").send(1)
          Sender(in: "p1", to: "10.9.1.3").send(2)
          Sender(in: "p1", to: "10.9.5.3").send(3)
          Sender(in: "p1", to: "10.9.5.3").send(4)
          try await expectSoon { receiver.count == 3 }
          let frames = Dictionary(leaving.value.map { ($0.sequence ?? 0, $0) }) { first, _ in first
          }
          #expect(frames[1]?.addresses == [net.station(1), two])
          #expect(frames[1]?.ports == [net.port(1), net.port(2)])
          #expect((1...4).map { frames[$0]?.vlan } == [0, 5, 6, 5])
          #expect(leaving.value.count { $0.isWellFormed } == 4)
          #expect(refused.value == [.notOnBridges])
          #expect(receiver.contents.sequences.sorted() == [1, 2, 4])
          #expect(try await bridge.statistics().queues.first?.verdictErrors == 0)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `a change of policy unhooks no chain, and stopping leaves no table`() async throws {
      try await withSwitch { _ in
        let bridge = makeBridge()
        func pending(_ layers: [Layer], _ revision: String) -> FilterPolicy {
          FilterPolicy(
            callouts: [
              CalloutRegistration(name: "test", revision: revision) {
                PendingFrames { frame, out in
                  if frame.sequence == 1 { out.hold(for: .seconds(3), thenPermit: true) }
                } pended: { _ in
                }
              }
            ],
            filters: layers.map {
              Filter(name: $0.name, layer: $0, action: .calloutUnknown("test"))
            })
        }
        try await running(bridge, pending(switchLayers, "1")) {
          let receiver = Receiver(in: "p2")
          Sender(in: "p1", to: "10.9.1.3").send(1)
          try await expectSoon { try await bridge.statistics().queues.first?.waiting == 1 }
          #expect(try chains() == ["prerouting", "forward", "output"])
          try await bridge.apply(pending([.egressVSwitchEthernet], "2"))
          #expect(try chains() == ["prerouting", "forward", "output"])
          #expect(
            try Shell.run("nft list chain bridge callout prerouting").contains("queue") == false)
          try await bridge.apply(policy([.outboundTransportV4], revision: "3") { _, _ in })
          #expect(try chains() == ["prerouting", "forward", "output"])
          // What waited is let go all the same.
          try await expectSoon { receiver.count == 1 }
          #expect(try await bridge.statistics().isHealthy)
        }
        #expect(try Shell.run("nft list tables").contains("callout") == false)
      }
    }

    private func chains() throws -> [Substring] {
      try Shell.run("nft list table bridge callout").split(separator: "\n").compactMap { line in
        let words = line.split(whereSeparator: \.isWhitespace)
        return words.first == "chain" ? words[1] : nil
      }
    }
  }
}
