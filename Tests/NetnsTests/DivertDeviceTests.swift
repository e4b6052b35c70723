// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import Kernel
import LinkLayer
import PacketViews
import Testing

extension NetnsTests {
  /// What happens to the device while its frames are diverted.
  @Suite(.diverts) struct DivertDevices {
    private static let ping = "ping -c 2 -i 0.05 -W 2 10.9.1.2"
    private static let neighbour =
      "ip neigh replace 10.9.1.2 lladdr 02:00:00:00:01:02 dev a1 nud permanent"

    /// A device that is up takes another name from Linux 6.2 on.
    private static func rename(_ old: String, _ new: String) -> String {
      """
      ip link set \(old) name \(new) 2>/dev/null || {
        ip link set \(old) down; ip link set \(old) name \(new); ip link set \(new) up
        ip neigh replace 10.9.1.2 lladdr 02:00:00:00:01:02 dev \(new) nud permanent; }
      """
    }

    @Test func `down and up, a new name, another MTU and address: frames go on`() async throws {
      try await withTopology { _ in
        try await diverting("a1") { inbound, outbound in
          try Shell.run("ip link set a1 down; ip link set a1 up; \(Self.neighbour); \(Self.ping)")
          try Shell.run("ip link set a1 mtu 9000; ip -n p1 link set b1 mtu 9000; \(Self.ping)")
          try Shell.run("ping -M do -s 8000 -c 2 -i 0.05 -W 2 10.9.1.2")
          try Shell.run(
            """
            ip link set a1 address 02:00:00:00:01:11
            ip -n p1 neigh replace 10.9.1.1 lladdr 02:00:00:00:01:11 dev b1 nud permanent
            \(Self.ping)
            """)
          try Shell.run("\(Self.rename("a1", "renamed")); \(Self.ping)")
          try Shell.run(Self.rename("renamed", "a1"))
          for divert in [inbound, outbound] {
            try await expectSoon { try divert.counters.tally.permitted >= 10 }
          }
        }
      }
    }

    @Test func `a frame that is kept over the device's going down is told as such`() async throws {
      try await withTopology { _ in
        let gate = Gate()
        let isHeld = Shared(false)
        let divert = try Diversion("a1", .outbound) { frame in
          guard frame.bytes.byteCount == 61 else { return .permit }
          isHeld.change { $0 = true }
          gate.pass()
          return .permit
        }
        let from = FrameTap("a1")
        defer { from.close() }
        from.send(experiment(size: 61))
        try await expectSoon { isHeld.value }
        try Shell.run("ip link set a1 down")
        #expect(divert.injector.inject(experiment().span.packetBytes) == .deviceDown)
        gate.open()
        try await expectSoon { divert.failures.contains(.deviceDown) }
        try Shell.run("ip link set a1 up; \(Self.neighbour); \(Self.ping)")
        let counters = try divert.stop()
        #expect(counters.tally.deviceDown >= 1)
        expectAccounting(counters)
      }
    }

    @Test func `an inbound frame that is kept over the device's going down has strayed`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let gate = Gate()
        let divert = try Diversion("a1", .inbound) { frame in
          if frame.bytes.byteCount == 61 { gate.pass() }
          return .permit
        }
        let from = FrameTap(in: "p1", "b1")
        defer { from.close() }
        from.send(experiment(to: Ends.host, from: Ends.peer, size: 61))
        try await expectSoon { gate.arrivals == 1 }
        try Shell.run("ip link set a1 down")
        gate.open()
        try await expectSoon { try divert.counters.tally.permitted == 1 }
        try Shell.run("ip link set a1 up; \(Self.neighbour); \(Self.ping)")
        let counters = try divert.stop()
        #expect(counters.tally.strayed == 1 && counters.tally.forcedRemovals == 0)
        expectAccounting(counters)
      }
    }

    @Test func `a divert that is dropped lets frames go on, though an injector is left`()
      async throws
    {
      try await withTopology { _ in
        let device = try #require(try LinkDevice.find(name: "a1")).index
        let injector: FrameInjector
        do {
          var divert = try FrameDivert.open(
            FrameDivertOptions(
              device: device, direction: .outbound, injectedBit: injectedBit,
              attachment: EachAttachment.current))
          try divert.attach()
          injector = try divert.makeInjector()
        }
        try Shell.run(Self.ping)
        let to = FrameTap(in: "p1", "b1")
        defer { to.close() }
        #expect(injector.inject(experiment().span.packetBytes) == .sent)
        try await expectSoon { to.count == 1 }
      }
    }

    @Test func `a device that is deleted: sends say so, and taking down ends soon`() async throws {
      try await withTopology { _ in
        do {
          let inbound = try Diversion("a1", .inbound)
          let outbound = try Diversion("a1", .outbound)
          try Shell.run("\(Self.ping); ip link del a1")
          #expect(outbound.injector.inject(experiment().span.packetBytes) == .deviceGone)
          let start = ContinuousClock.now
          for divert in [inbound, outbound] { expectAccounting(try divert.stop()) }
          #expect(ContinuousClock.now - start < .seconds(3))
        }
        #expect(try LinkDevice.all().allSatisfy { !HelperDevices.isName($0.name) })
      }
    }

    @Test func `devices are watched: come, changed, in a bridge, gone`() async throws {
      try await withTopology { _ in
        var watcher = try LinkWatcher()
        func expectChange(_ line: String, _ matches: (LinkDevice) -> Bool) async throws {
          try Shell.run(line)
          try await expectSoon {
            while let event = try watcher.next() {
              if case .changed(let device) = event, matches(device) { return true }
            }
            return false
          }
        }
        try await expectChange("ip link set a1 mtu 4000") { $0.name == "a1" && $0.mtu == 4000 }
        try await expectChange("ip link set a1 address 02:00:00:00:01:33") {
          $0.address == MACAddress("02:00:00:00:01:33")
        }
        try await expectChange("ip link set a1 down") { $0.name == "a1" && !$0.isUp }
        try await expectChange("ip link set a1 name renamed; ip link set renamed up") {
          $0.name == "renamed" && $0.isUp
        }
        try await expectChange("ip link add br0 type bridge; ip link set renamed master br0") {
          $0.name == "renamed" && $0.master != nil
        }
        let device = try #require(try LinkDevice.find(name: "renamed"))
        #expect(device.driver == "veth" && device.medium == .ethernet)
        #expect(try LinkDevice.find(index: device.index) == device)
        // Leaving the bridge is told in messages of the bridge's own, too.
        try await expectChange("ip link set renamed nomaster") {
          $0.name == "renamed" && $0.master == nil
        }
        try Shell.run("ip link del renamed")
        try await expectSoon {
          while let event = try watcher.next() {
            if case .removed(let gone) = event, gone.index == device.index { return true }
          }
          return false
        }
        #expect(try LinkDevice.find(name: "renamed") == nil)
        #expect(try LinkDevice.find(index: device.index) == nil)
        #expect(try LinkDevice.find(name: "a name longer than any") == nil)
      }
    }

    @Test func `what each device can have, and why not`() async throws {
      try await withTopology { _ in
        try Shell.run("ip tuntap add dev raw0 mode tun")
        defer { _ = try? Shell.run("ip tuntap del dev raw0 mode tun") }
        #expect(
          LinkProbe.kernel().first { $0.name == LinkProbe.divert }?.support == .supported)
        let findings = try LinkProbe.devices()
        func support(_ device: String, _ feature: String) -> String {
          let found = findings.first { $0.device.name == device }?.features
          switch found?.first(where: { $0.name == feature })?.support {
          case .supported: return "supported"
          case .unsupported(let reason, _): return reason
          default: return "unknown"
          }
        }
        #expect(support("a1", LinkProbe.ethernet) == "supported")
        #expect(support("a1", LinkProbe.native) == "supported")
        #expect(support("raw0", LinkProbe.native) == "supported")
        #expect(support("raw0", LinkProbe.ethernet).contains("without a MAC header"))
        #expect(support("lo", LinkProbe.ethernet).contains("both directions"))
        for way in EachAttachment.here {
          #expect(support("a1", "divert-\(way)") == "supported")
          #expect(support("lo", "divert-\(way)").contains("both directions"))
        }
        #expect(try LinkDevice.all().allSatisfy { !HelperDevices.isName($0.name) })
      }
    }

    @Test func `probing tells who is asked before us, and whose discipline is in the way`()
      async throws
    {
      try await withTopology(peers: 2) { _ in
        func clsact(_ device: String) throws -> KernelFeature? {
          try LinkProbe.devices().first { $0.device.name == device }?.features.first {
            $0.name == "divert-clsact"
          }
        }
        try Shell.run(
          """
          tc qdisc add dev a1 clsact; tc qdisc add dev a2 ingress
          tc filter add dev a1 egress prio 9 u32 match u32 0 0 classid 1:1
          """)
        #expect(try clsact("a1")?.note?.contains("before all other filters of a1") == true)
        try Shell.run("tc filter add dev a1 egress prio 1 u32 match u32 0 0 classid 1:1")
        #expect(try clsact("a1")?.note?.contains("behind egress filters of priority 1") == true)
        guard case .unsupported(let reason, _) = try clsact("a2")?.support else {
          Issue.record("an ingress discipline is no obstacle")
          return
        }
        #expect(reason.contains("use clsact instead"))
      }
    }

    @Test func `what cannot be diverted is refused by name`() async throws {
      try await withTopology { _ in
        func error(_ device: UInt32, _ bit: UInt32 = injectedBit) -> DivertError? {
          do throws(DivertError) {
            _ = try FrameDivert.open(
              FrameDivertOptions(
                device: device, direction: .inbound, injectedBit: bit,
                attachment: EachAttachment.current))
            return nil
          } catch {
            return error
          }
        }
        #expect(error(1) == .loopback("lo"))
        #expect(error(99_999) == .noDevice(99_999))
        #expect(error(1, 0) == .notOneBit(0))
        #expect(error(1, 0xc000_0000) == .notOneBit(0xc000_0000))
      }
    }

    @Test func `two programs divert one device; helpers that nobody holds are removed`()
      async throws
    {
      try await withTopology { _ in
        let first = try Diversion("a1", .inbound, isWanted: false)
        let second = try Diversion("a1", .inbound, isWanted: false)
        #expect(first.helperIndex != second.helperIndex)
        try Shell.run("ip tuntap add dev coi4711 mode tap; ip tuntap add dev coil mode tap")
        defer { _ = try? Shell.run("ip tuntap del dev coil mode tap") }
        #expect(try HelperDevices.abandoned() == ["coi4711"])
        #expect(try HelperDevices.removeAbandoned() == ["coi4711"])
        #expect(try HelperDevices.abandoned().isEmpty)
        #expect(try LinkDevice.find(name: "coil") != nil)
        #expect(try LinkDevice.find(index: first.helperIndex) != nil)
        #expect(try LinkDevice.find(index: second.helperIndex) != nil)
        try first.stop()
        try second.stop()
      }
    }
  }
}
