// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import LinkLayer
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// Devices that change, go and come while a bridge meets their frames.
  @Suite struct Interfaces {
    private static let layers: [Layer] = [.inboundMACFrameEthernet, .outboundMACFrameEthernet]

    @Test func `a device that is deleted loses its ports, and one that comes is diverted again`()
      async throws
    {
      try await withTopology { topology in
        let met = Shared(0)
        let bridge = bridge("a1")
        try await running(bridge, policy(counting: met)) {
          try Shell.run("ip link del a1")
          try await expectSoon { try await attached(bridge).isEmpty }
          try await expectSoon { try helpers().isEmpty }
          #expect(try await bridge.statistics().warnings.contains { $0.contains("a1 has gone") })
          try Shell.run("ip netns del p1")
          try Topology.build(peers: 1)
          try await expectSoon { try await attached(bridge) == ["a1", "a1"] }
          try topology.silence()
          let before = met.value
          try Shell.run("ip netns exec p1 ping -c 1 -W 5 10.9.1.1")
          #expect(met.value >= before + 2)
          #expect(try await bridge.statistics().isHealthy)
        }
        #expect(try helpers().isEmpty)
      }
    }

    @Test func `a device that leaves for another namespace works there`() async throws {
      try await withTopology { _ in
        let bridge = bridge("a1")
        try await running(bridge, policy(counting: Shared(0))) {
          try Shell.run("ip netns add away; ip link set a1 netns away")
          try await expectSoon { try await attached(bridge).isEmpty }
          try Shell.run(
            """
            ip -n away addr add 10.9.1.1/24 dev a1; ip -n away link set a1 up
            ip netns exec away ping -c 1 -W 5 10.9.1.2
            """)
        }
      }
    }

    @Test func `a new address reaches the metadata, and a new name the statistics`() async throws {
      try await withTopology { topology in
        try topology.silence()
        let addresses = Shared<[MACAddress]>([])
        let bridge = bridge("a1")
        let policy = framePolicy([.outboundMACFrameEthernet]) { frame, _ in
          let address = frame.metadata.interfaceAddress
          addresses.change { $0.append(address) }
        }
        try await running(bridge, policy) {
          try Shell.run("ping -c 1 -W 5 10.9.1.2")
          #expect(addresses.value.last == MACAddress(rawValue: 0x0200_0000_0101))
          try Shell.run(
            """
            ip link set a1 name lan1; ip link set lan1 address 02:00:00:00:01:99
            ip netns exec p1 ip neigh replace 10.9.1.1 lladdr 02:00:00:00:01:99 dev b1
            """)
          try await expectSoon { try await attached(bridge) == ["lan1"] }
          try await expectSoon {
            try Shell.run("ping -c 1 -W 5 10.9.1.2")
            return addresses.value.last == MACAddress(rawValue: 0x0200_0000_0199)
          }
        }
        try Shell.run("ip link set lan1 name a1")
      }
    }

    @Test func `apply takes other interfaces, or refuses them and goes on`() async throws {
      try await withTopology(peers: 2) { _ in
        let bridge = bridge("a1")
        let policy = policy(counting: Shared(0))
        try await running(bridge, policy) {
          try await bridge.apply(policy, interfaces: ["a2"])
          #expect(try await attached(bridge) == ["a2", "a2"])
          await #expect {
            try await bridge.apply(policy, interfaces: ["a1", "no0"])
          } throws: {
            if case BridgeError.noInterface("no0") = $0 { true } else { false }
          }
          #expect(try await attached(bridge) == ["a2", "a2"])
          try await bridge.apply(policy)
          #expect(try await attached(bridge) == ["a2", "a2"])
          try await bridge.apply(policy, interfaces: ["a1", "a2"])
          #expect(try await attached(bridge) == ["a1", "a1", "a2", "a2"])
        }
      }
    }

    @Test func `filters of the dead go at the start, a discipline of ours at the end only`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        func hasClsact() throws -> Bool {
          try Shell.run("tc qdisc show dev a1").contains("clsact")
        }
        let dead = try EachAttachment.$current.withValue(.clsact) {
          try Shell.start(FrameHolder.command("a1"))
        }
        try await expectSoon { try Shell.run("tc filter show dev a1 egress").contains("callout") }
        dead.stop()
        try await expectSoon { try helpers().isEmpty }
        let isClsact = EachAttachment.here == [.clsact]
        let met = Shared(0)
        let bridge = bridge("a1")
        try await running(bridge, policy(counting: met)) {
          #expect(try AbandonedFilters.remove().isEmpty)
          #expect(try hasClsact() == isClsact)
          try await bridge.apply(FilterPolicy(callouts: [], filters: []))
          #expect(try hasClsact() == isClsact)
          let before = met.value
          try Shell.run("ip netns exec p1 ping -c 1 -W 5 10.9.1.1")
          #expect(met.value == before)
          try await bridge.apply(policy(counting: met))
          try Shell.run("ip netns exec p1 ping -c 1 -W 5 10.9.1.1")
          #expect(met.value >= before + 2)
        }
        #expect(try !hasClsact() && helpers().isEmpty)
      }
    }

    private func bridge(_ interfaces: String...) -> Bridge {
      makeBridge { $0.interfaces = interfaces }
    }

    private func policy(counting met: Shared<Int>) -> FilterPolicy {
      framePolicy(Self.layers) { _, _ in met.change { $0 += 1 } }
    }

    /// The names of the devices that are diverted, one for each direction.
    private func attached(_ bridge: Bridge) async throws -> [String] {
      try await bridge.statistics().ports.filter(\.isAttached).map(\.deviceName).sorted()
    }

    private func helpers() throws -> [String] {
      try LinkDevice.all().map(\.name).filter(HelperDevices.isName)
    }
  }
}
