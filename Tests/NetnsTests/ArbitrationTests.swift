// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// What sublayers make of a packet together, seen by who gets it.
  @Suite struct Arbitration {
    static let bands = [Sublayer(name: "high", weight: 300), Sublayer(name: "low", weight: 100)]
    static let answers = ["permit", "permit!", "block", "block!"]

    /// One filter at OUTPUT for UDP.
    static func filter(
      _ action: FilterAction, _ sublayer: String, weight: UInt64 = 1, flags: FilterFlags = []
    ) -> Filter {
      Filter(
        name: "\(sublayer) \(weight)", layer: .outboundTransportV4, sublayer: sublayer,
        weight: .explicit(weight), conditions: [Condition(.ipProtocol, .equal(17))],
        action: action, flags: flags)
    }

    static func callout(_ name: String, _ body: @escaping ClassifyBody) -> CalloutRegistration {
      CalloutRegistration(name: name) { ClosureCallout(body) }
    }

    static func say(_ answer: String, _ out: inout Classification) {
      if answer.hasSuffix("!") { out.clearWriteRight() }
      switch answer.prefix(while: { $0 != "!" }) {
      case "permit": out.permit()
      case "block": out.block()
      case "absorb": out.absorb()
      case "continue": out.continue()
      default: break
      }
    }

    /// Sends datagrams through a policy; gives the numbers of those that arrive, the queue's
    /// counters and the filters' hits.
    func arrivals(
      _ filters: [Filter], _ callouts: [CalloutRegistration] = [], count: Int = 4
    ) async throws -> (numbers: [UInt64], queue: QueueStatistics, hits: [UInt64]) {
      var result: (numbers: [UInt64], queue: QueueStatistics, hits: [UInt64])?
      try await withTopology { _ in
        let bridge = makeBridge { $0.kernelFilters = .off }
        let whole = FilterPolicy(sublayers: Self.bands, callouts: callouts, filters: filters)
        try await running(bridge, whole) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: count)
          try await expectSoon {
            let queue = try await bridge.statistics().queues[0]
            let dropped = queue.blocked + queue.absorbed
            return queue.permitted + dropped == count && receiver.count == Int(queue.permitted)
          }
          let statistics = try await bridge.statistics()
          result = (receiver.contents.sequences, statistics.queues[0], statistics.filterHits)
          try await expectAccounting(bridge)
        }
      }
      return try #require(result)
    }

    @Test func `F51: a filter's block drops the packet, and the filter counts it`() async throws {
      let found = try await arrivals([
        Self.filter(.permit, "high"), Self.filter(.block, "low"),
      ])
      #expect(found.numbers == [] && found.queue.blocked == 4 && found.queue.absorbed == 0)
      #expect(found.hits == [4, 4])
    }

    @Test func `F51: a block raises a drop event with the filter's number, F52: an absorb none`()
      async throws
    {
      try await withTopology { _ in
        let bridge = makeBridge { $0.kernelFilters = .off }
        let filters = [
          Self.filter(.permit, "high", flags: .clearActionRight),
          Self.filter(.calloutUnknown("c"), "low"),
        ]
        let callout = Self.callout("c") { packet, out in
          if packet.sequence == 3 { out.absorb() } else { out.block() }
        }
        let policy = FilterPolicy(
          sublayers: Self.bands, callouts: [callout], filters: [Self.filter(.block, "low")])
        try await running(bridge, policy) {
          Sender(to: "10.9.1.2").send(count: 2)
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 2 }
          let watch = try await bridge.watchDrops()
          Sender(to: "10.9.1.2").send(count: 2)
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 4 }
          // Told under the policy that it happened under.
          try await bridge.apply(
            FilterPolicy(sublayers: Self.bands, callouts: [callout], filters: filters))
          Sender(to: "10.9.1.2").send(count: 4)
          try await expectSoon {
            let queue = try await bridge.statistics().queues[0]
            return queue.blocked == 7 && queue.absorbed == 1
          }
          let drops = watch.take()
          #expect(drops.map(\.filter) == [0, 0, 1, 1, 1])
          #expect(drops.map(\.filterName) == Array(repeating: "low 1", count: 5))
          #expect(drops.map(\.isVeto) == [false, false, true, true, true])
          #expect(drops.map(\.callout) == [nil, nil, "c", "c", "c"])
          for drop in drops {
            let layout = try PacketLayout(parsing: drop.bytes.span.packetBytes)
            #expect(drop.layer == .outboundTransportV4 && layout.hasPorts)
            #expect(layout.destinationAddress == IPAddress(10, 9, 1, 2))
            #expect(drop.originalLength == UInt32(layout.totalLength))
          }
          await watch.end()
          Sender(to: "10.9.1.2").send(count: 1)
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 8 }
          #expect(watch.take().isEmpty && watch.lost == 0)
        }
      }
    }

    @Test func `What is blocked after the end of a watch is not told`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.kernelFilters = .off }
        let policy = FilterPolicy(sublayers: Self.bands, filters: [Self.filter(.block, "low")])
        try await running(bridge, policy) {
          let sender = Sender(to: "10.9.1.2")
          for round in 1...100 {
            let watch = try await bridge.watchDrops()
            await watch.end()
            sender.send(count: 1)
            try await expectSoon {
              try await bridge.statistics().queues[0].blocked == UInt64(round)
            }
            #expect(watch.take().isEmpty)
          }
        }
      }
    }

    @Test func `A watch of blocks that nobody reads loses them and counts that`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.kernelFilters = .off }
        let policy = FilterPolicy(sublayers: Self.bands, filters: [Self.filter(.block, "low")])
        try await running(bridge, policy) {
          let watch = try await bridge.watchDrops()
          Sender(to: "10.9.1.2").send(count: 9000)
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 9000 }
          let taken = UInt64(watch.take().count)
          #expect(watch.lost > 0 && taken + watch.lost == 9000)
        }
      }
    }

    @Test func `F52: an absorbed packet is dropped and counted apart`() async throws {
      let found = try await arrivals(
        [Self.filter(.calloutTerminating("c"), "high")], [Self.callout("c") { $1.absorb() }])
      #expect(found.numbers == [] && found.queue.blocked == 0 && found.queue.absorbed == 4)
    }

    @Test func `F53: permit ends the sublayer, continue does not`() async throws {
      let found = try await arrivals(
        [
          Self.filter(.calloutUnknown("c"), "high", weight: 2), Self.filter(.block, "high"),
        ],
        [
          Self.callout("c") { packet, out in
            if packet.sequence % 2 == 0 { out.permit() } else { out.continue() }
          }
        ])
      #expect(found.numbers == [0, 2] && found.hits == [4, 2])
    }

    @Test func `F54: sublayers are asked by their weights, filters in them by theirs`()
      async throws
    {
      let order = Shared<[String]>([])
      let names = ["low 9", "high 1", "high 7", "low 2"]
      _ = try await arrivals(
        names.map { name in
          let parts = name.split(separator: " ")
          return Self.filter(
            .calloutInspection(name), String(parts[0]), weight: UInt64(parts[1]) ?? 0)
        }, names.map { name in Self.callout(name) { _, _ in order.change { $0.append(name) } } },
        count: 1)
      #expect(order.value == ["high 7", "high 1", "low 9", "low 2"])
    }

    @Test func `F55: inspection in the lowest sublayer counts blocked packets`() async throws {
      let seen = Shared(0)
      let found = try await arrivals(
        [Self.filter(.block, "high"), Self.filter(.calloutInspection("c"), "low")],
        [Self.callout("c") { _, _ in seen.change { $0 += 1 } }])
      #expect(found.numbers == [] && seen.value == 4)
    }

    @Test func `F56: the sixteen combinations decide real packets`() async throws {
      let found = try await arrivals(
        [
          Self.filter(.calloutTerminating("high"), "high"),
          Self.filter(.calloutTerminating("low"), "low"),
        ],
        [
          Self.callout("high") { Self.say(Self.answers[Int($0.sequence / 4)], &$1) },
          Self.callout("low") { Self.say(Self.answers[Int($0.sequence % 4)], &$1) },
        ], count: 16)
      // Permit over permit passes, block over permit only if the block is soft; nothing else does.
      #expect(found.numbers == [0, 1, 4, 5, 8, 9])
      #expect(found.queue.vetoes == 2)
    }

    @Test func `F57: a hard permit passes a filter's block and yields to a veto`() async throws {
      let hard = Self.filter(.permit, "high", flags: .clearActionRight)
      let passed = try await arrivals([hard, Self.filter(.block, "low")])
      #expect(passed.numbers == [0, 1, 2, 3] && passed.queue.vetoes == 0)
      let vetoed = try await arrivals(
        [hard, Self.filter(.calloutTerminating("c"), "low")], [Self.callout("c") { $1.block() }])
      #expect(vetoed.numbers == [] && vetoed.queue.vetoes == 4)
    }

    @Test func `F58: a terminating callout that continues drops the packet`() async throws {
      let found = try await arrivals(
        [Self.filter(.calloutTerminating("c"), "high")], [Self.callout("c") { $1.continue() }])
      #expect(found.numbers == [] && found.queue.blocked == 4)
    }

    @Test func `F59: an inspection that blocks lets the packet pass`() async throws {
      let found = try await arrivals(
        [Self.filter(.calloutInspection("c"), "high")],
        [
          Self.callout("c") { _, out in
            out.block()
            out.clearWriteRight()
          }
        ])
      #expect(found.numbers == [0, 1, 2, 3])
    }
  }
}
