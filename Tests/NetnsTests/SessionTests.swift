// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

/// Counts packets for which two filters of one policy say different numbers.
private final class Witness: Callout {
  struct Seen: Sendable {
    var packets = 0
    var torn = 0
    var changes = 0
  }

  private let seen: Shared<Seen>
  private var sequence: UInt64?
  private var first: UInt64 = 0
  private var last: UInt64 = 0

  init(_ seen: Shared<Seen>) { self.seen = seen }

  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    guard sequence == packet.sequence else {
      (sequence, first) = (packet.sequence, out.filterContext)
      return
    }
    sequence = nil
    let isTorn = first != out.filterContext
    let isNew = last != out.filterContext
    last = out.filterContext
    seen.change {
      $0.packets += 1
      $0.torn += isTorn ? 1 : 0
      $0.changes += isNew ? 1 : 0
    }
  }
}

/// Keeps the provider contexts that it is told of.
private final class ContextReader: Callout {
  private let data: Shared<[[UInt8]?]>
  init(_ data: Shared<[[UInt8]?]>) { self.data = data }
  override func filterChanged(_ change: FilterChange, with context: ProviderContext?) throws {
    data.change { $0.append(context?.data) }
  }
}

/// The number with which an operation is refused, success if it is not.
private func status(_ body: () async throws -> Void) async throws -> WFPStatus? {
  do {
    try await body()
    return .success
  } catch let error as BridgeError {
    return error.status
  } catch let error as EngineError {
    return error.status
  }
}

private func blockAll(_ name: String = "block", sublayer: String = "default") -> Filter {
  Filter(
    name: name, layer: .outboundTransportV4, sublayer: sublayer,
    conditions: [Condition(.ipProtocol, .equal(17))], action: .block)
}

extension NetnsTests {
  /// Objects that sessions add, on real packets.
  @Suite struct Sessions {
    /// How many of ten datagrams pass.
    private func passed(_ topology: Topology, _ bridge: Bridge) async throws -> Int {
      let before = try topology.departures()
      Sender(to: "10.9.1.2").send(count: 10)
      try await expectSoon { try await isQuiet(bridge) }
      return try topology.departures() - before
    }

    @Test func `F66: a transaction comes into force at once, or leaves nothing`() async throws {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.failurePolicy = .block }
        try await running(bridge, FilterPolicy()) {
          let session = bridge.openSession()
          let aborted = try await session.begin()
          try aborted.add(Sublayer(name: "band", weight: 0xffff))
          try aborted.add(blockAll(sublayer: "band"))
          #expect(try await passed(topology, bridge) == 10)
          aborted.abort()
          #expect(bridge.objects.filters.count == 0 && bridge.objects.sublayers.count == 0)
          #expect(try await status { try await aborted.commit() } == .noTransactionInProgress)

          // One that is wrong takes the right ones with it.
          let wrong = try await status {
            try await session.transaction { transaction throws(EngineError) in
              try transaction.add(blockAll())
              var filter = blockAll("wrong")
              filter.conditions = [Condition(.etherType, .equal(1))]
              try transaction.add(filter)
            }
          }
          #expect(wrong == .conditionNotFound && bridge.objects.filters.count == 0)
          #expect(try await passed(topology, bridge) == 10)

          let key = try await session.transaction { transaction throws(EngineError) in
            try transaction.add(Sublayer(name: "band", weight: 0xffff))
            return try transaction.add(blockAll(sublayer: "band"))
          }
          #expect(bridge.objects.filters[key]?.name == "block")
          #expect(try await passed(topology, bridge) == 0)
          try await session.deleteFilter(key)
          #expect(try await passed(topology, bridge) == 10)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test(arguments: [1, 2] as [UInt16])
    func `F66: no packet is decided by half of a commit`(queues: UInt16) async throws {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge {
          $0.queueCount = queues
          $0.failurePolicy = .block
        }
        let seen = Shared(Witness.Seen())
        let base = FilterPolicy(callouts: [
          CalloutRegistration(name: "witness") { Witness(seen) }
        ])
        func pair(_ round: UInt64) -> [Filter] {
          ["high", "low"].map { band in
            Filter(
              name: band, layer: .outboundTransportV4, sublayer: band,
              conditions: [Condition(.ipRemotePort, .equal(7))],
              action: .calloutInspection("witness"), context: .raw(round))
          }
        }
        try await running(bridge, base) {
          let session = bridge.openSession()
          var keys = try await session.transaction { transaction throws(EngineError) in
            try transaction.add(Sublayer(name: "high", weight: 2))
            try transaction.add(Sublayer(name: "low", weight: 1))
            return [try transaction.add(pair(1)[0]), try transaction.add(pair(1)[1])]
          }
          let isDone = Shared(false)
          let senders = (0..<2).map { _ in
            Background {
              let sender = Sender(to: "10.9.1.2")
              var sequence: UInt64 = 0
              while !isDone.value {
                sender.send(sequence)
                sequence += 1
              }
            }
          }
          for round in 2...UInt64(100) {
            let old = keys
            keys = try await session.transaction { transaction throws(EngineError) in
              // Added first, so that a half would show both.
              let new = [try transaction.add(pair(round)[0]), try transaction.add(pair(round)[1])]
              for key in old { try transaction.deleteFilter(key) }
              return new
            }
          }
          isDone.change { $0 = true }
          for sender in senders { sender.join() }
          try await expectSoon { try await isQuiet(bridge) }
          let result = seen.value
          #expect(result.torn == 0 && result.packets > 100 && result.changes > 10, "\(result)")
          try await expectSoon { try topology.departures() == result.packets }
        }
      }
    }

    @Test func `F66: one transaction at a time, and who waits too long is told`() async throws {
      let bridge = makeBridge()
      let first = bridge.openSession()
      let second = bridge.openSession(SessionOptions(transactionTimeout: .milliseconds(50)))
      let patient = bridge.openSession()
      let open = try await first.begin()
      #expect(try await status { _ = try await first.begin() } == .transactionInProgress)
      #expect(try await status { _ = try await second.begin() } == .timeout)
      let key = try open.add(blockAll())
      async let waiting: ObjectKey = patient.add(blockAll("later"))
      try await open.commit()
      let later = try await waiting
      #expect(bridge.objects.filters.all.map(\.name) == ["block", "later"])
      #expect(bridge.objects.filters[key] != nil && bridge.objects.filters[later] != nil)
      #expect(try await status { try await second.deleteFilter(key) } == .success)
      // One that is dropped is aborted, and leaves the way free.
      _ = try await first.begin()
      #expect(try await status { try await second.deleteFilter(later) } == .success)
      #expect(bridge.objects.filters.count == 0)
    }

    @Test func `F67: what a dynamic session added goes with it`() async throws {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.failurePolicy = .block }
        try await running(bridge, FilterPolicy()) {
          let session = bridge.openSession(SessionOptions(isDynamic: true))
          let lasting = bridge.openSession()
          try await session.transaction { transaction throws(EngineError) in
            try transaction.add(Sublayer(name: "band", weight: 0xffff))
            try transaction.add(blockAll(sublayer: "band"))
          }
          let other = Filter(name: "other", layer: .inboundTransportV4, action: .permit)
          try await lasting.add(other)
          #expect(try await passed(topology, bridge) == 0)
          try await session.close()
          #expect(bridge.objects.filters.all.map(\.name) == ["other"])
          #expect(bridge.objects.sublayers.count == 0)
          #expect(try await passed(topology, bridge) == 10)
          #expect(try await status { try await session.add(blockAll()) } == .sessionAborted)
          try await lasting.close()
          #expect(bridge.objects.filters.count == 1)

          // One that is dropped goes too.
          var dropped: EngineSession? = bridge.openSession(SessionOptions(isDynamic: true))
          try await dropped?.add(blockAll())
          #expect(try await passed(topology, bridge) == 0)
          dropped = nil
          try await expectSoon { bridge.objects.filters.count == 1 }
          #expect(try await passed(topology, bridge) == 10)
        }
      }
    }

    @Test func `A policy that is applied leaves what sessions added, and must suit it`()
      async throws
    {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.failurePolicy = .block }
        let session = bridge.openSession()
        let early = try await session.add(blockAll())
        let bands = FilterPolicy(sublayers: [Sublayer(name: "band", weight: 1)])
        try await running(bridge, bands) {
          #expect(try await passed(topology, bridge) == 0)
          try await session.deleteFilter(early)
          try await session.add(blockAll(sublayer: "band"))
          try await bridge.apply(bands)
          #expect(try await passed(topology, bridge) == 0)
          #expect(
            try await status { try await bridge.apply(FilterPolicy()) } == .sublayerNotFound)
          #expect(try await passed(topology, bridge) == 0)
        }
      }
    }

    @Test func `F69: a callout that flows bear contexts of stays registered until they end`()
      async throws
    {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.failurePolicy = .block }
        let asked = Shared(0)
        var registered = policy([.outboundTransportV4]) { packet, out in
          asked.change { $0 += 1 }
          if out.flowContext == 0 { try? out.associateFlowContext(packet.sequence &+ 1) }
          out.permit()
        }
        registered.callouts[0].followsFlows = true
        try await running(bridge, registered) {
          #expect(try await passed(topology, bridge) == 10)
          #expect(bridge.flowContexts(ofCallout: "test") > 0)
          #expect(
            try await status { try await bridge.unregisterCallout(named: "test") } == .deviceBusy)
          #expect(try await passed(topology, bridge) == 10)
          #expect(bridge.removeFlowContexts(ofCallout: "test") > 0)
          try await bridge.unregisterCallout(named: "test")
          #expect(try await passed(topology, bridge) == 0)
          #expect(
            try await status { try await bridge.unregisterCallout(named: "test") }
              == .calloutNotFound)
          try await bridge.register(
            CalloutRegistration(name: "test") { ClosureCallout { _, out in out.permit() } })
          #expect(try await passed(topology, bridge) == 10)
          #expect(asked.value == 20)
        }
      }
    }

    @Test func `A callout gets the provider context that its filter names`() async throws {
      try await withTopology { _ in
        let data = Shared<[[UInt8]?]>([])
        let bridge = makeBridge()
        let base = FilterPolicy(
          callouts: [CalloutRegistration(name: "reader") { ContextReader(data) }])
        try await running(bridge, base) {
          let session = bridge.openSession()
          func reader(_ context: FilterContext) -> Filter {
            Filter(
              name: "f", layer: .inboundTransportV4, action: .calloutInspection("reader"),
              context: context)
          }
          try await session.transaction { transaction throws(EngineError) in
            try transaction.add(ProviderContext(name: "settings", data: [1, 2, 3]))
            try transaction.add(reader(.provider("settings")))
            try transaction.add(reader(.raw(7)))
          }
          #expect(data.value == [[1, 2, 3], nil])
        }
      }
    }
  }
}
