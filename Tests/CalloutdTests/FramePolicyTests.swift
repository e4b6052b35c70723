// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import PacketViews
import Testing

@testable import calloutd

struct FramePolicyTests {
  /// The conditions of a filter at the inbound Ethernet layer, or the errors.
  func conditions(_ text: String, layer: String = "inbound-mac-frame-ethernet") throws
    -> [Condition]
  {
    let file = try PolicyFile.parse(
      """
      interfaces: [ eth0 ]
      filters:
      - name: f
        layer: \(layer)
        action: permit
        conditions:
        - \(text)
      """, path: "p")
    return file.filters.flatMap(\.filter.conditions)
  }

  func problem(_ text: String, layer: String = "inbound-mac-frame-ethernet") -> String {
    do {
      _ = try conditions(text, layer: layer)
      return ""
    } catch { return "\(error)" }
  }

  @Test func `a list of values is a set, and every match of WFP has its name`() throws {
    let prefix = try #require(IPPrefix("10.0.0.0/8"))
    for (text, expected, shown) in [
      (
        "{ field: ip-remote-port, match: equal, value: [53, 853] }",
        [.equal(53), .equal(853)], "ip-remote-port 53"
      ),
      (
        "{ field: ip-remote-port, match: range, value: [[1, 2], [8, 9]] }",
        [.range(1, 2), .range(8, 9)], "ip-remote-port 1-2"
      ),
      (
        "{ field: ip-remote-address, match: prefix, value: [10.0.0.0/8, 10.0.0.0/8] }",
        [.prefix(prefix), .prefix(prefix)], "ip-remote-address 10.0.0.0/8"
      ),
      (
        "{ field: ip-remote-address, match: not-prefix, value: 10.0.0.0/8 }",
        [.notPrefix(prefix)], "ip-remote-address not 10.0.0.0/8"
      ),
      (
        "{ field: ip-remote-address, match: masked, value: 10.9.9.1/255.0.0.255 }",
        [.masked(0x0a00_0001, mask: 0xff00_00ff)], "ip-remote-address 10.0.0.1/255.0.0.255"
      ),
      (
        "{ field: ip-protocol, match: not-equal, value: tcp }", [.notEqual(6)],
        "ip-protocol not tcp"
      ),
      (
        "{ field: ip-remote-port, match: greater, value: 9 }", [.greater(9)],
        "ip-remote-port above 9"
      ),
      ("{ field: ip-remote-port, match: less, value: 9 }", [.less(9)], "ip-remote-port below 9"),
      (
        "{ field: ip-remote-port, match: greater-or-equal, value: 9 }", [.greaterOrEqual(9)],
        "ip-remote-port from 9"
      ),
      (
        "{ field: ip-remote-port, match: less-or-equal, value: 9 }", [.lessOrEqual(9)],
        "ip-remote-port up to 9"
      ),
    ] as [(String, [Condition.Match], String)] {
      let found = try conditions(text, layer: "outbound-transport-v4")
      #expect(found.map(\.match) == expected, "\(text)")
      #expect(found.first?.policyText == shown)
    }
  }

  @Test func `values of frames' fields are read and shown`() throws {
    let address = MACAddress(rawValue: 0x0200_5e10_0001)
    for (text, expected, shown) in [
      (
        "{ field: mac-local-address, match: equal, value: 02:00:5e:10:00:01 }",
        Condition(.macLocalAddress, equals: address), "mac-local-address 02:00:5e:10:00:01"
      ),
      (
        "{ field: mac-remote-address, match: prefix, value: 02:00:5e:ff:ff:ff/24 }",
        Condition(.macRemoteAddress, within: address, length: 24),
        "mac-remote-address 02:00:5e:00:00:00/24"
      ),
      (
        "{ field: mac-remote-address, match: masked, value: 01:00:00:00:00:00/01:00:00:00:00:00 }",
        Condition(.macRemoteAddress, .masked(1 << 40, mask: 1 << 40)),
        "mac-remote-address 01:00:00:00:00:00/01:00:00:00:00:00"
      ),
      (
        "{ field: mac-local-address, match: range, value: [02:00:00:00:00:00, 02:00:00:00:00:09] }",
        Condition(.macLocalAddress, .range(0x0200_0000_0000, 0x0200_0000_0009)),
        "mac-local-address 02:00:00:00:00:00-02:00:00:00:00:09"
      ),
      (
        "{ field: ether-type, match: equal, value: arp }", Condition(.etherType, .equal(0x0806)),
        "ether-type arp"
      ),
      (
        "{ field: ether-type, match: equal, value: 0x88b5 }",
        Condition(.etherType, .equal(0x88b5)), "ether-type 34997"
      ),
      (
        "{ field: vlan-id, match: masked, value: 100/0xfff }",
        Condition(.vlanID, .masked(100, mask: 0xfff)), "vlan-id 100/0xfff"
      ),
      (
        "{ field: mac-remote-address-type, match: equal, value: broadcast }",
        Condition(.macRemoteAddressType, .equal(2)), "mac-remote-address-type broadcast"
      ),
      (
        "{ field: l2-flags, match: flags-any-set, value: [malformed, wifi] }",
        Condition(.l2Flags, .flagsAnySet(0x22)), "l2-flags any of [wifi, malformed]"
      ),
    ] as [(String, Condition, String)] {
      let found = try conditions(text)
      #expect(found == [expected], "\(text)")
      #expect(found.first?.policyText == shown)
    }
  }

  @Test func `wrong values are told with what was expected`() {
    for (text, expected) in [
      (
        "{ field: mac-local-address, match: equal, value: 02:00:5e:10:00 }",
        "expected an Ethernet address such as 02:00:00:00:00:01"
      ),
      (
        "{ field: mac-local-address, match: prefix, value: 02:00:5e:10:00:01/49 }",
        "expected an Ethernet address and a length such as 02:00:5e:00:00:00/24"
      ),
      (
        "{ field: mac-local-address, match: flags-all-set, value: 1 }",
        "mac-local-address is an address"
      ),
      ("{ field: ether-type, match: equal, value: ip }", "expected an EtherType's number such as"),
      ("{ field: ether-type, match: prefix, value: 1/2 }", "ether-type is no address"),
      ("{ field: vlan-id, match: equal, value: 65536 }", "expected a number up to 65535"),
      ("{ field: vlan-id, match: masked, value: 100 }", "expected a value and a mask such as"),
      ("{ field: l2-flags, match: masked, value: 1/1 }", "l2-flags takes no mask"),
      (
        "{ field: l2-flags, match: flags-any-set, value: [fragment] }",
        "expected names of flags: native-ethernet"
      ),
      ("{ field: mac-local-address-type, match: equal, value: 256 }", "unicast, multicast or"),
      (
        "{ field: ip-protocol, match: equal, value: udp }",
        "packets at inbound-mac-frame-ethernet have no ip-protocol"
      ),
    ] {
      #expect(problem(text).contains(expected), "\(problem(text))")
    }
    #expect(
      problem("{ field: ether-type, match: equal, value: arp }", layer: "outbound-transport-v4")
        .contains("packets at outbound-transport-v4 have no ether-type"))
  }

  @Test func `an address that a layer lacks is told with the one that serves`() {
    let (inbound, outbound) = ("inbound-mac-frame-ethernet", "outbound-mac-frame-ethernet")
    let ingress = "ingress-vswitch-ethernet"
    let address = "match: equal, value: 02:00:00:00:00:01"
    let type = "match: equal, value: unicast"
    for (layer, field, value, instead) in [
      (inbound, "mac-source-address", address, "; use mac-remote-address"),
      (inbound, "mac-destination-address", address, "; use mac-local-address"),
      (outbound, "mac-source-address", address, "; use mac-local-address"),
      (outbound, "mac-destination-address", address, "; use mac-remote-address"),
      (inbound, "mac-source-address-type", type, "; use mac-remote-address-type"),
      (outbound, "mac-destination-address-type", type, "; use mac-remote-address-type"),
      (
        ingress, "mac-local-address", address,
        "; use mac-source-address or mac-destination-address:"
      ),
      (
        ingress, "mac-remote-address-type", type,
        "; use mac-source-address-type or mac-destination-address-type:"
      ),
      ("inbound-mac-frame-native", "mac-source-address", address, ""),
    ] {
      let error = problem("{ field: \(field), \(value) }", layer: layer)
      #expect(error.contains("packets at \(layer) have no \(field)\(instead)"), "\(error)")
      #expect(!instead.isEmpty || error.hasSuffix("have no \(field)"), "\(error)")
      let ends = error.hasSuffix("have no \(field)\(instead)")
      #expect(ends || instead.hasSuffix(":"), "\(error)")
    }
  }

  @Test func `MAC layers need interfaces, bridge layers do not`() throws {
    for layer in Layer.frameLayers {
      let text = "filters:\n- { name: f, layer: \(layer.name), action: block }\n"
      let needs = layer.medium != .virtualSwitch
      do {
        _ = try PolicyFile.parse(text, path: "p")
        #expect(!needs, "\(layer)")
      } catch {
        #expect(needs && error.description.contains("2:21: error"), "\(error)")
        #expect(error.description.contains("expected interfaces to name those whose frames"))
      }
      let file = try PolicyFile.parse("interfaces: [ eth0, br0 ]\n" + text, path: "p")
      #expect(file.interfaces == ["eth0", "br0"] && file.filters.first?.filter.layer == layer)
    }
  }

  @Test func `a callout stands only at layers of what it looks at`() {
    for (type, layer, expected) in [
      ("rewrite, set: { ttl: 1 }", "inbound-mac-frame-ethernet", "rewrite of IP headers"),
      (
        "rewrite-mac, set: { vlan: pop }", "inbound-transport-v4",
        "a callout of frames at inbound-transport-v4"
      ),
      ("arp-inspect", "ipforward-v4", "a callout of frames at ipforward-v4"),
      (
        "rewrite-mac, set: { mac-local-address: 02:00:00:00:00:01 }", "ingress-vswitch-ethernet",
        "bridged frames have no local end"
      ),
    ] {
      let text =
        "interfaces: [ eth0 ]\ncallouts:\n- { name: c, type: \(type) }\nfilters:\n"
        + "- { name: f, layer: \(layer), action: callout-unknown, callout: c }\n"
      let error = #expect(throws: PolicyProblems.self) { try PolicyFile.parse(text, path: "p") }
      #expect(error?.lines.count == 1)
      #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
    }
  }

  private func kind(_ text: String) throws -> CalloutSpec.Kind? {
    try PolicyFile.parse("callouts:\n- { name: c, type: \(text) }\n", path: "p").callouts.first?
      .kind
  }

  @Test func `changes of MAC headers are read`() throws {
    for (text, tag) in [
      ("push 0xa064", .push(VLANTag(.vlan, control: 0xa064))),
      ("push-service 5", .push(VLANTag(.serviceVLAN, control: 5))), ("set 7", .set(control: 7)),
      ("pop", .pop),
    ] as [(String, FrameChange.Tag)] {
      var change = FrameChange()
      change.tag = tag
      change.source = MACAddress(rawValue: 0x0200_0000_0001)
      change.etherType = .ipv6
      let found = try kind(
        "rewrite-mac, on-refused: block, set: { vlan: \(text), ether-type: ipv6, "
          + "mac-source-address: 02:00:00:00:00:01 }")
      #expect(
        found
          == .rewriteMAC(FrameRewriteCallout.Configuration(change, blocksRefused: true)))
    }
    for text in [
      "{}", "{ vlan: push }", "{ vlan: pop 1 }", "{ vlan: push 65536 }", "{ ether-type: 0x8100 }",
      "{ ether-type: 1500 }", "{ mac-source-address: 01:00:00:00:00:01 }",
    ] {
      #expect(throws: PolicyProblems.self, "\(text)") { try kind("rewrite-mac, set: \(text)") }
    }
  }

  @Test func `ARP inspection is read`() throws {
    let expected = ARPInspectCallout.Configuration(
      bindings: [ARPBinding(IPAddress(10, 0, 0, 1), MACAddress(rawValue: 0x0200_0000_0001))],
      learns: false, capacity: 64, keeps: .seconds(60), rate: EventRate(20, per: .seconds(1)),
      blocks: false, log: EventRate(5, per: .seconds(1)))
    let found = try kind(
      "arp-inspect, bindings: [{ address: 10.0.0.1, mac: 02:00:00:00:00:01 }], learn: false, "
        + "capacity: 64, keep: 60s, rate: 20/s, on-violation: permit, log: 5/s")
    #expect(found == .inspectARP(expected))
    #expect(try kind("arp-inspect") == .inspectARP(ARPInspectCallout.Configuration()))
    let error = #expect(throws: PolicyProblems.self) {
      try kind(
        "arp-inspect, bindings: [\n  { address: 10.9.0.55, mac: 02:00:00:00:00:01 },\n"
          + "  { address: 10.9.0.56, mac: 02:00:00:00:00:01 },\n"
          + "  { mac: 02:00:00:00:00:02, address: 10.9.0.55 }]")
    }
    #expect(
      error?.lines == [
        "p:5:3: error: found 10.9.0.55 again, expected it once in bindings; it is first given in "
          + "line 3"
      ])
    #expect(throws: PolicyProblems.self) {
      try kind("arp-inspect, bindings: [{ address: fe80::1, mac: 02:00:00:00:00:01 }]")
    }
  }
}
