// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

/// A callout that permits what it is shown, and says no to filters of one name and to deletions.
final class Permitting: Callout {
  struct Refusal: Error {}
  private let asked: Shared<Int>
  private let heard: Shared<[String]>

  init(_ asked: Shared<Int>, _ heard: Shared<[String]>) {
    self.asked = asked
    self.heard = heard
  }

  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    asked.change { $0 += 1 }
    out.permit()
  }

  override func filterChanged(_ change: FilterChange) throws {
    switch change {
    case .added(let filter):
      heard.change { $0.append("+\(filter.name)") }
      if filter.name == "refused" { throw Refusal() }
    case .deleted(let filter):
      heard.change { $0.append("-\(filter.name)") }
      throw Refusal()
    }
  }
}

extension NetnsTests {
  /// Filters and their callouts, which come and go apart from each other.
  @Suite struct FiltersAndCallouts {
    let asked = Shared(0)
    let heard = Shared<[String]>([])

    /// A policy of filters for datagrams to port 7, whose callout has code or not.
    func make(_ filters: [Filter], isRegistered: Bool = true) -> FilterPolicy {
      let code = CalloutRegistration(name: "test") { [asked, heard] in Permitting(asked, heard) }
      return FilterPolicy(
        callouts: isRegistered ? [code] : [], filters: filters,
        addedCallouts: [AddedCallout(name: "test")])
    }

    func filter(
      _ action: FilterAction, _ flags: FilterFlags = [], name: String = "filter"
    ) -> Filter {
      Filter(
        name: name, layer: .outboundTransportV4,
        conditions: [
          Condition(.ipProtocol, .equal(17)), Condition(.ipRemotePort, .equal(7)),
        ], action: action, flags: flags)
    }

    @Test func `F60: a callout that is taken away blocks, or permits if the filter says so`()
      async throws
    {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.failurePolicy = .block }
        let sender = Sender(to: "10.9.1.2")
        var departed = 0
        func expect(_ passed: Int, _ filter: Filter, isRegistered: Bool) async throws {
          try await bridge.apply(make([filter], isRegistered: isRegistered))
          sender.send(count: 10)
          departed += passed
          try await expectSoon { try await isQuiet(bridge) }
          let holds = try await eventually(within: .seconds(10)) {
            try topology.departures() == departed
          }
          try #require(holds, "\(filter.action), registered: \(isRegistered)")
        }
        try await running(bridge, make([])) {
          for action in [FilterAction.calloutTerminating("test"), .calloutUnknown("test")] {
            let before = asked.value
            try await expect(10, filter(action), isRegistered: true)
            #expect(asked.value == before + 10)
            try await expect(0, filter(action), isRegistered: false)
            try await expect(
              10, filter(action, .permitIfCalloutUnregistered), isRegistered: false)
            #expect(asked.value == before + 10)
            try await expect(
              10, filter(action, .permitIfCalloutUnregistered), isRegistered: true)
            #expect(asked.value == before + 20)
          }
          let before = asked.value
          try await expect(10, filter(.calloutInspection("test")), isRegistered: false)
          #expect(asked.value == before)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `F61: a callout that refuses a filter keeps it out, and all stays as it was`()
      async throws
    {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.failurePolicy = .block }
        try await running(bridge, make([filter(.calloutTerminating("test"), name: "old")])) {
          let error = await #expect(throws: BridgeError.self) {
            try await bridge.apply(
              make([
                filter(.block, name: "other"),
                filter(.calloutTerminating("test"), name: "refused"),
              ]))
          }
          guard case .filterRefused("test", _)? = error else {
            throw error ?? BridgeError.wrongState("no error")
          }
          Sender(to: "10.9.1.2").send(count: 10)
          try await expectSoon { try topology.departures() == 10 }
          #expect(try await bridge.statistics().filterHits == [10])
          #expect(heard.value == ["+old", "+refused"])
        }
      }
    }

    @Test func `F62: a callout cannot prevent that a filter is deleted`() async throws {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.failurePolicy = .block }
        try await running(bridge, make([filter(.calloutTerminating("test"), name: "old")])) {
          try await bridge.apply(make([]))
          #expect(heard.value == ["+old", "-old"])
          Sender(to: "10.9.1.2").send(count: 10)
          try await expectSoon { try topology.departures() == 10 }
          #expect(asked.value == 0)
          #expect(try await bridge.statistics().filterHits == [])
        }
      }
    }
  }
}
