// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

/// A callout that notes which filters it is told of, and its end.
private final class Listener: Callout {
  struct Refusal: Error {}
  private let heard: Shared<[String]>
  private let refuses: Bool

  init(_ heard: Shared<[String]>, refuses: Bool = false) {
    self.heard = heard
    self.refuses = refuses
  }

  override func filterChanged(_ change: FilterChange) throws {
    switch change {
    case .added(let filter):
      heard.change { $0.append("+\(filter.name)") }
      if refuses { throw Refusal() }
    case .deleted(let filter): heard.change { $0.append("-\(filter.name)") }
    }
  }

  deinit { heard.change { $0.append("gone") } }
}

extension NetnsTests {
  /// Changes of policy that fail, or that meet a kernel which lacks something.
  @Suite struct Applying {
    /// A chain that is not ours, where a change to this layer needs one.
    private static let obstacle =
      "inet callout postrouting { type filter hook postrouting priority 5; }"

    @Test func `A change that fails ends no context, drops no callout, and counting goes on`()
      async throws
    {
      try await withTopology { _ in
        let log = EventLog()
        let held = HeldPackets()
        let heard = Shared<[String]>([])
        let bridge = makeBridge {
          $0.pendDeadline = .seconds(60)
          $0.failurePolicy = .block
        }
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("log") { log.note($0) }
        var old = policy([.outboundTransportV4], tags: [tag], pended: { held.keep($0) }) {
          packet, out in
          try? out.associate(packet.sequence, with: tag, notify: notify)
          out.pend()
        }
        old.callouts.append(CalloutRegistration(name: "listener") { Listener(heard) })
        old.filters.append(
          Filter(
            name: "old", layer: .outboundTransportV4,
            conditions: [Condition(.ipRemotePort, .equal(99))],
            action: .calloutUnknown("listener")))
        var new = policy([.outboundTransportV4, .outboundIPPacketV4], revision: "new") { _, out in
          out.permit()
        }
        new.callouts.append(CalloutRegistration(name: "listener") { Listener(heard) })
        new.filters.append(
          Filter(name: "new", layer: .outboundIPPacketV4, action: .calloutUnknown("listener")))
        try await running(bridge, old) {
          try Shell.run("nft 'add chain \(Self.obstacle)'")
          Sender(to: "10.9.1.2").send(count: 10)
          try await expectSoon { held.count == 10 }
          let before = try await bridge.statistics()
          for _ in 0..<2 { await #expect(throws: BridgeError.self) { try await bridge.apply(new) } }
          Sender(to: "10.9.1.2").send(count: 5, first: 10)
          try await expectSoon { held.count == 15 }
          let after = try await bridge.statistics()
          #expect(before.filterHits == [10, 0] && after.filterHits == [15, 0])
          #expect(after.tagging.live == 15 && log.all.isEmpty)
          #expect(heard.value == ["+old", "+new", "-new", "+new", "-new"])
          try await expectAccounting(bridge)
          held.permitAll()
          try Shell.run("nft delete chain inet callout postrouting")
          try await expectSoon { log.reasons().count == 15 }
          try await bridge.apply(new)
          #expect(heard.value == ["+old", "+new", "-new", "+new", "-new", "+new", "-old"])
        }
      }
    }

    @Test func `A filter that is refused is taken back from the callouts that took theirs`()
      async throws
    {
      try await withTopology { _ in
        let taker = Shared<[String]>([])
        let refuser = Shared<[String]>([])
        let bridge = makeBridge()
        let callouts = [
          CalloutRegistration(name: "taker") { Listener(taker) },
          CalloutRegistration(name: "refuser") { Listener(refuser, refuses: true) },
        ]
        let old = FilterPolicy(
          callouts: callouts,
          filters: [Filter(name: "old", layer: .outboundTransportV4, action: .permit)])
        let new = FilterPolicy(
          callouts: callouts,
          filters: [
            Filter(name: "1", layer: .outboundTransportV4, action: .calloutUnknown("taker")),
            Filter(name: "2", layer: .outboundTransportV4, action: .calloutUnknown("taker")),
            Filter(name: "3", layer: .outboundTransportV4, action: .calloutUnknown("refuser")),
          ])
        try await running(bridge, old) {
          do throws(BridgeError) {
            try await bridge.apply(new)
            Issue.record("a refusal was overheard")
          } catch {
            guard case .filterRefused("refuser", _) = error else { throw error }
          }
          try await expectSoon { taker.value == ["+1", "+2", "-2", "-1"] }
          #expect(refuser.value == ["+3"])
        }
      }
    }

    @Test func `Packets at our rules are counted on through changes of the rules`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.failurePolicy = .block }
        func make(_ layers: [Layer]) -> FilterPolicy {
          policy(layers, revision: "\(layers.count)") { _, out in out.permit() }
        }
        let sender = Sender(to: "10.9.1.2")
        try await running(bridge, make([.outboundTransportV4])) {
          var seen: UInt64 = 0
          for round in 1...4 {
            let isOdd = round % 2 == 1
            sender.send(count: 10)
            seen += isOdd ? 10 : 20
            try await expectSoon { try await bridge.statistics().queues[0].permitted == seen }
            try await expectAccounting(bridge)
            try await bridge.apply(
              make(isOdd ? [.outboundTransportV4, .outboundIPPacketV4] : [.outboundTransportV4]))
            try await expectAccounting(bridge)
          }
        }
      }
    }

    @Test func `A task that is cancelled changes and stops nothing by half`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.rules = .managed(.iptables) }
        try await bridge.start(policy([.outboundTransportV4]) { _, out in out.permit() })
        let new = policy([.outboundIPPacketV4, .outboundIPPacketV6]) { _, out in out.permit() }
        let change = Task {
          while !Task.isCancelled { await Task.yield() }
          try await bridge.apply(new)
        }
        change.cancel()
        try await change.value
        #expect(try await bridge.statistics().isHealthy)
        let stop = Task {
          while !Task.isCancelled { await Task.yield() }
          return await bridge.stop()
        }
        stop.cancel()
        let report = await stop.value
        #expect(report.rulesRemoved && report.notes.isEmpty)
        let left = try Shell.run("iptables-save -t mangle")
        #expect(!left.contains("CALLOUT"))
      }
    }

    @Test func `Conntrack values that the kernel cannot send are missed aloud, also later`()
      async throws
    {
      try await withTopology { _ in
        func make(readingConntrack: Bool) -> FilterPolicy {
          var result = policy([.outboundTransportV4], revision: "\(readingConntrack)") { _, out in
            out.permit()
          }
          result.callouts[0].readsConntrack = readingConntrack
          return result
        }
        let fromTheStart = makeBridge()
        var warnings: [String] = []
        try await running(fromTheStart, make(readingConntrack: true)) {
          warnings = try await fromTheStart.statistics().warnings
        }
        let later = makeBridge()
        try await running(later, make(readingConntrack: false)) {
          for _ in 0..<2 { try await later.apply(make(readingConntrack: true)) }
          Sender(to: "10.9.1.2").send(count: 3)
          try await expectSoon { try await later.statistics().queues[0].permitted == 3 }
          let statistics = try await later.statistics()
          #expect(statistics.warnings == warnings)
          #expect(statistics.queues[0].refusals.isEmpty)
        }
      }
    }
  }
}
