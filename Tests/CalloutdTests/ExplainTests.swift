// SPDX-License-Identifier: Apache-2.0

import CalloutControl
import CalloutEngine
import Testing

@testable import calloutctl
@testable import calloutd

struct ExplainTests {
  static let filters = [
    Filter(
      name: "dns", layer: .outboundTransportV4, weight: .explicit(9),
      conditions: [
        Condition(.ipProtocol, .equal(17)), Condition(.ipRemotePort, .equal(53)),
        Condition(.userID, .equal(7)),
      ], action: .calloutUnknown("watch")),
    Filter(name: "rest", layer: .outboundTransportV4, weight: .explicit(1), action: .block),
    Filter(name: "six", layer: .outboundTransportV6, action: .permit),
    Filter(name: "frames", layer: .outboundMACFrameEthernet, action: .block),
  ]

  func explain(_ change: (inout ExplainRequest) -> Void) throws -> [ExplainReport] {
    let policy = try CompiledPolicy(
      FilterPolicy(
        callouts: [CalloutRegistration(name: "watch") { Callout() }], filters: Self.filters))
    var request = ExplainRequest()
    change(&request)
    return try ExplainAnswer(policy: policy).lines(for: request)
  }

  @Test func `a tuple is explained at each layer of its family`() throws {
    let found = try explain {
      ($0.ipProtocol, $0.from, $0.to) = ("udp", "10.0.0.1", "10.0.0.2")
      ($0.sourcePort, $0.destinationPort, $0.userID) = (4000, 53, 7)
    }
    #expect(found.map(\.layer) == ["outbound-transport-v4"])
    #expect(found[0].verdict == "callouts" && found[0].decidedBy == "rest")
    #expect(found[0].steps.map(\.filter) == ["dns", "rest"])
    #expect(
      found[0].steps[0].outcomes == ["permit": "permit", "block": "block", "continue": "block"])
    let text = ExplainCommand.render(found)
    #expect(text.contains("outbound-transport-v4 at output: up to callouts, else \"rest\" decides"))
    #expect(text.contains("would be asked (permit: permit, block: block, continue: block)"))
    let six = try explain {
      ($0.ipProtocol, $0.from, $0.to) = ("tcp", "2001:db8::1", "2001:db8::2")
    }
    #expect(six.map(\.verdict) == ["permit"] && six.map(\.decidedBy) == ["six"])
  }

  @Test func `a frame is explained at its layers, and the packet in it at its own`() throws {
    let found = try explain {
      $0.form = "ethernet"
      // To 02:…:02 from 02:…:01: a datagram 192.0.2.1:4000 > 10.0.0.1:53.
      $0.packet =
        "AgAAAAACAgAAAAABCABFAAAgAAEAAAoRAADAAAIBCgAAAQ+gADUADAAAAQIDBA=="
    }
    #expect(found.map(\.layer) == ["outbound-mac-frame-ethernet", "outbound-transport-v4"])
    #expect(found.map(\.verdict) == ["block", "block"])
  }

  @Test func `what cannot be explained is refused with the reason`() {
    for change in [
      { $0.from = "10.0.0.1" }, { $0.packet = "!" }, { $0.packet = "AAAA" },
      { ($0.from, $0.to, $0.ipProtocol) = ("10.0.0.1", "10.0.0.2", "upd") },
      { ($0.from, $0.to, $0.layer) = ("10.0.0.1", "10.0.0.2", "nowhere") },
      { ($0.from, $0.to, $0.input) = ("10.0.0.1", "10.0.0.2", "no-such-device") },
    ] as [(inout ExplainRequest) -> Void] {
      #expect(throws: ControlFailure.self) { try explain(change) }
    }
  }

  @Test func `addresses are read with and without ports`() throws {
    for (text, address, port) in [
      ("10.0.0.1:53", "10.0.0.1", 53), ("10.0.0.1", "10.0.0.1", nil), ("fe80::1", "fe80::1", nil),
      ("[fe80::1]:53", "fe80::1", 53), ("[fe80::1]", "fe80::1", nil),
    ] as [(String, String, UInt16?)] {
      let found = try ExplainCommand.endpoint(text)
      #expect(found.address == address && found.port == port)
    }
    #expect(throws: (any Error).self) { try ExplainCommand.endpoint("10.0.0.1:65536") }
  }
}
