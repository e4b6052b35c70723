// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

extension NetnsTests {
  /// Ending and changing a bridge while packets flow.
  @Suite struct Stopping {
    @Test func `stop loses no packet of a flood`() async throws {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.maximumLength = 512 }
        let tag = bridge.makeTag(named: "t")
        try await bridge.start(
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            if packet.hook == .output { try? out.associate(packet.sequence, with: tag) }
          })
        let receiver = Receiver(in: "p1", keeping: false)
        let isDone = Shared(false)
        let sent = Shared(0)
        let sender = Sender(to: "10.9.1.2")
        let flood = Background {
          var number: UInt64 = 0
          while !isDone.value {
            let taken = sender.send(count: 100, first: number)
            number += 100
            sent.change { $0 += taken }
          }
        }
        try await expectSoon { try await bridge.statistics().queues[0].permitted > 5000 }
        let report = await bridge.stop()
        let before = sent.value
        try await expectSoon { sent.value > before + 1000 }
        isDone.change { $0 = true }
        flood.join()
        #expect(report.rulesRemoved, "\(report.notes)")
        #expect(!(try Shell.run("nft list tables").contains("callout")))
        #expect(try topology.departures() == sent.value)
        try await expectSoon {
          try receiver.count + topology.drops(peer: 1, port: 7) == sent.value
        }
      }
    }

    @Test func `stop does not flush another program's queue`() async throws {
      try await withTopology { _ in
        try Shell.run("iptables -t mangle -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 32000")
        let held = HeldPackets()
        let other = makeBridge {
          $0.firstQueue = 32000
          $0.rules = .unmanaged
          $0.mark = .off
        }
        try await other.start(
          policy([.outboundTransportV4], pended: { held.keep($0) }) { _, out in
            out.pend(deadline: .seconds(60))
          })
        let bridge = makeBridge()
        try await bridge.start(
          policy([.outboundIPPacketV4]) { _, out in out.permit() })
        let receiver = Receiver(in: "p1", port: 9)
        Sender(to: "10.9.1.2", port: 9).send(count: 10)
        try await expectSoon { held.count == 10 }
        let report = await bridge.stop()
        #expect(!report.rulesRemoved)
        #expect(report.notes.count == 1)
        #expect(report.notes[0].contains("32000"))
        let rules = try Shell.run("nft list table inet callout")
        #expect(rules.contains("chain") && !rules.contains("counter"))
        held.permitAll()
        try await expectSoon { receiver.count == 10 }
        _ = await other.stop()
      }
    }

    @Test func `apply: 50 changes under load, each seen as a whole`() async throws {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge { $0.maximumLength = 2048 }
        let tag = bridge.makeTag(named: "t")
        let last = Shared(-1)
        let torn = Shared(0)
        let seen = Shared<Set<Int>>([])
        let make: @Sendable (Int) -> FilterPolicy = { number in
          var result = policy([.outboundTransportV4], tags: [tag], revision: "\(number)") { _, _ in
            last.change { $0 = number }
            seen.change { $0.insert(number) }
          }
          result.sublayers = [Sublayer(name: "low", weight: 1)]
          result.callouts.append(
            CalloutRegistration(name: "second", revision: "\(number)") {
              ClosureCallout({ _, out in
                if last.value != number { torn.change { $0 += 1 } }
                out.permit()
              })
            })
          let layers: [Layer] =
            number % 2 == 0 ? [.outboundTransportV4] : [.outboundTransportV4, .outboundIPPacketV4]
          for layer in layers {
            result.filters.append(
              Filter(
                name: "low \(layer)", layer: layer, sublayer: "low",
                action: layer == .outboundTransportV4 ? .calloutUnknown("second") : .permit))
          }
          return result
        }
        try await running(bridge, make(0)) {
          let chains = "nft -a list table inet callout | grep 'chain output'"
          let before = try Shell.run(chains)
          let receiver = Receiver(in: "p1", keeping: false)
          let isDone = Shared(false)
          let sent = Shared(0)
          let sender = Sender(to: "10.9.1.2")
          let flood = Background {
            var number: UInt64 = 0
            while !isDone.value {
              let taken = sender.send(count: 100, first: number)
              number += 100
              sent.change { $0 += taken }
            }
          }
          for number in 1...50 {
            try await bridge.apply(make(number))
            try await expectSoon { seen.value.contains(number) }
          }
          var wrong = make(99)
          wrong.filters[0].sublayer = "nowhere"
          await #expect(throws: BridgeError.self) { try await bridge.apply(wrong) }
          try await expectSoon { last.value == 50 }
          isDone.change { $0 = true }
          flood.join()
          try await expectSoon { try topology.departures() == sent.value }
          try await expectSoon {
            try receiver.count + topology.drops(peer: 1, port: 7) == sent.value
          }
          #expect(torn.value == 0)
          #expect(!seen.value.contains(99))
          #expect(try Shell.run(chains) == before)
        }
      }
    }

    @Test func `stop waits for a change under way: no rules outlive it`() async throws {
      try await withTopology { _ in
        for round in 0..<10 {
          let bridge = makeBridge()
          try await bridge.start(policy([.outboundTransportV4]) { _, out in out.permit() })
          async let change: Void? = try? await bridge.apply(
            policy([.outboundTransportV4, .outboundIPPacketV4]) { _, out in out.permit() })
          if round % 2 == 1 { await Task.yield() }
          _ = await bridge.stop()
          _ = await change
          #expect(try Shell.run("nft list tables").isEmpty)
        }
      }
    }

    @Test func `apply: a worker that is stuck keeps all at the policy in force`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge {
          $0.queueCount = 2
          $0.patience = .milliseconds(200)
        }
        let gate = Shared(true)
        let isStuck = Shared(false)
        let seen = Shared<[UInt16: Int]>([:])
        let old = policy([.outboundTransportV4], revision: "old") { packet, _ in
          let queue = packet.metadata.queue
          seen.change { $0[queue, default: 0] += 1 }
          guard queue == 31001 else { return }
          isStuck.change { $0 = true }
          while gate.value { usleep(1000) }
        }
        let news = Shared(0)
        let new = policy([.outboundTransportV4], revision: "new") { _, _ in
          news.change { $0 += 1 }
        }
        try await running(bridge, old) {
          defer { gate.change { $0 = false } }
          // The kernel spreads packets over queues by their addresses.
          let senders = (2..<18).map { Sender(to: "10.9.1.\($0)") }
          for sender in senders { sender.send(1) }
          try await expectSoon { isStuck.value }
          do throws(BridgeError) {
            try await bridge.apply(new)
            Issue.record("a worker that does not answer took a policy")
          } catch {
            guard case .stuck(queue: 31001) = error else {
              Issue.record("\(error)")
              return
            }
          }
          gate.change { $0 = false }
          let before = seen.value
          for sender in senders { sender.send(2) }
          try await expectSoon {
            seen.value[31000, default: 0] > before[31000, default: 0]
              && seen.value[31001, default: 0] > before[31001, default: 0]
              && seen.value.values.reduce(0, +) == 32
          }
          #expect(news.value == 0)
        }
      }
    }

    @Test func `apply: a policy of the same layers leaves the rules alone`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let make = { (number: Int) in
          policy([.outboundTransportV4], revision: "\(number)") { _, out in out.permit() }
        }
        try await running(bridge, make(0)) {
          let rules = try Shell.run(
            "nft -a list table inet callout | sed 's/packets .*bytes [0-9]*//'")
          try await bridge.apply(make(1))
          #expect(
            try Shell.run("nft -a list table inet callout | sed 's/packets .*bytes [0-9]*//'")
              == rules)
        }
      }
    }
  }
}
