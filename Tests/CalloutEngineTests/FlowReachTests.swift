// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

private func flow(
  _ number: IPProtocol, _ source: UInt16, _ destination: UInt16, isIPv6: Bool = false
)
  -> FlowEntry
{
  let (near, far) =
    isIPv6
    ? (IPAddress(high: 1, low: 1), IPAddress(high: 1, low: 2))
    : (IPAddress(10, 0, 0, 1), IPAddress(10, 0, 0, 2))
  return FlowEntry(
    key: FlowKey(near, far, number, sourcePort: source, destinationPort: destination))
}

private func reach(_ filters: [Filter]) -> FlowReach {
  FlowReach(
    FilterPolicy(
      callouts: ["a", "b"].map { CalloutRegistration(name: $0) { Callout() } }, filters: filters))
}

@Suite struct FlowReachTests {
  @Test func `A callout is out of reach of flows that its filters' ends and protocols exclude`() {
    let dns = reach([
      filter(
        .calloutUnknown("a"),
        [Condition(.ipProtocol, .equal(17)), Condition(.ipRemotePort, .equal(53))])
    ])
    #expect(dns.isWanted(flow(.udp, 4000, 53), isAuthorized: false))
    // Seen from its other end it may be the remote one.
    #expect(dns.isWanted(flow(.udp, 53, 4000), isAuthorized: false))
    #expect(!dns.isWanted(flow(.tcp, 4000, 53), isAuthorized: false))
    #expect(!dns.isWanted(flow(.udp, 4000, 54), isAuthorized: false))
    #expect(!dns.isWanted(flow(.udp, 4000, 53, isIPv6: true), isAuthorized: false))
    let net = reach([
      filter(
        .calloutInspection("a"),
        [Condition(.ipSourceAddress, .equal(0x0a00_0003)), Condition(.interfaceIndex, .equal(9))])
    ])
    #expect(!net.isWanted(flow(.udp, 1, 2), isAuthorized: false))
    // What a flow does not tell may be so.
    #expect(
      reach([filter(.calloutInspection("a"), [Condition(.interfaceIndex, .equal(9))])])
        .isWanted(flow(.udp, 1, 2), isAuthorized: false))
    #expect(!reach([filter(.block)]).isWanted(flow(.udp, 1, 2), isAuthorized: false))
  }

  @Test func `A flow is wanted until each callout that can match has released it`() {
    let both = reach([filter(.calloutTerminating("a")), filter(.calloutInspection("b"))])
    var entry = flow(.tcp, 1, 2)
    #expect(both.isWanted(entry, isAuthorized: false))
    entry.released = 0b01
    #expect(both.isWanted(entry, isAuthorized: false))
    entry.released = 0b11
    #expect(!both.isWanted(entry, isAuthorized: false))
  }

  @Test func `Who only authorizes wants a flow until it is authorized`() {
    let ale = reach([filter(.calloutTerminating("a"), layer: .aleAuthConnectV4)])
    #expect(ale.isWanted(flow(.tcp, 1, 2), isAuthorized: false))
    #expect(!ale.isWanted(flow(.tcp, 1, 2), isAuthorized: true))
    let told = reach([filter(.calloutInspection("a"), layer: .aleFlowEstablishedV4)])
    #expect(!told.isWanted(flow(.tcp, 1, 2), isAuthorized: false))
  }
}
