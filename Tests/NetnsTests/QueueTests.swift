// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// Order, overflow, foreign bits of the mark, and packets that go to other queues.
  @Suite struct Queues {
    @Test(arguments: [1, 2] as [UInt16])
    func `F71: each flow keeps its order at full speed`(_ queues: UInt16) async throws {
      try await withTopology(peers: 2) { topology in
        try Shell.run("ip -n p1 addr add 10.9.1.3/24 dev b1; ip -n p2 addr add 10.9.2.3/24 dev b2")
        try Shell.run(
          "ip neigh replace 10.9.1.3 lladdr 02:00:00:00:01:02 dev a1 nud permanent;"
            + "ip neigh replace 10.9.2.3 lladdr 02:00:00:00:02:02 dev a2 nud permanent")
        try topology.countDepartures()
        let bridge = makeBridge {
          $0.queueCount = queues
          // A packet that a full queue lets pass would overtake those that wait.
          $0.failurePolicy = .block
        }
        let tag = bridge.makeTag(named: "t")
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            if packet.hook == .output { try? out.associate(packet.sequence, with: tag) }
          }
        ) {
          let receivers = [
            Receiver(in: "p1", keeping: false), Receiver(in: "p2", keeping: false),
          ]
          let targets = ["10.9.1.2", "10.9.1.3", "10.9.2.2", "10.9.2.3"]
          let senders = targets.enumerated().map { number, target in
            let sender = Sender(to: target, flow: UInt32(number))
            return Background { sender.send(count: 10_000) }
          }
          for sender in senders { sender.join() }
          try await expectSoon { try await isQuiet(bridge) }
          let arrived = try topology.departures()
          try await expectSoon {
            try receivers.map(\.count).reduce(0, +) + topology.drops(peer: 1, port: 7)
              + topology.drops(peer: 2, port: 7) == arrived
          }
          #expect(receivers.map(\.contents.late) == [0, 0])
          #expect(arrived > 20_000)
          let statistics = try await bridge.statistics()
          if queues == 2 {
            #expect(statistics.queues.allSatisfy { $0.packets > 0 })
          }
          try await expectAccounting(bridge)
        }
      }
    }

    @Test(arguments: FailurePolicy.allCases)
    func `F75: a queue full of pended packets`(_ failure: FailurePolicy) async throws {
      try await withTopology { _ in
        let held = HeldPackets()
        let bridge = makeBridge {
          $0.failurePolicy = failure
          $0.maximumLength = 16
        }
        try await running(
          bridge,
          policy([.outboundTransportV4], pended: { held.keep($0) }) { _, out in
            out.pend(deadline: .seconds(60))
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 16)
          try await expectSoon { held.count == 16 }
          Sender(to: "10.9.1.2").send(count: 100, first: 100)
          let statistics = try await bridge.statistics()
          #expect(statistics.queues[0].queueDropped == (failure == .block ? 100 : 0))
          #expect(statistics.failOpenPasses == (failure == .permit ? 100 : nil))
          #expect(statistics.rulePackets == 116)
          #expect(statistics.queues[0].waiting == 16)
          try await expectAccounting(bridge)
          held.permitAll()
          let expected = failure == .permit ? 116 : 16
          try await expectSoon { receiver.count == expected }
          try await expectAccounting(bridge)
        }
      }
    }

    @Test(arguments: FailurePolicy.allCases)
    func `F75: a callout that blocks its worker`(_ failure: FailurePolicy) async throws {
      try await withTopology { topology in
        try topology.countDepartures()
        let bridge = makeBridge {
          $0.failurePolicy = failure
          $0.maximumLength = 64
        }
        try await running(
          bridge,
          policy([.outboundTransportV4]) { packet, _ in
            if packet.sequence % 500 == 0 { usleep(20_000) }
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 10_000)
          try await expectSoon {
            let queue = try await bridge.statistics().queues[0]
            return queue.waiting == 0 && queue.packets == queue.idsIssued - queue.idGaps
          }
          try await expectAccounting(bridge)
          let statistics = try await bridge.statistics()
          let queue = statistics.queues[0]
          #expect(statistics.rulePackets == 10_000)
          if failure == .block {
            #expect(queue.queueDropped > 0)
            #expect(queue.queueDropped + UInt32(queue.permitted) == 10_000)
          } else {
            #expect(queue.queueDropped == 0)
            #expect(statistics.failOpenPasses ?? 0 > 0)
          }
          let passed = Int(queue.permitted + (statistics.failOpenPasses ?? 0))
          #expect(try topology.departures() == passed)
          try await expectSoon {
            try receiver.count + topology.drops(peer: 1, port: 7) == passed
          }
        }
      }
    }

    @Test func `A verdict that cannot be sent: its packet waits, and no other goes for it`()
      async throws
    {
      try await withTopology { _ in
        let gate = Gate()
        let bridge = makeBridge()
        try await running(
          bridge,
          policy([.outboundTransportV4], needs: .wholePacket) { packet, out in
            if packet.sequence == 0 { gate.pass() }
            if packet.sequence == 1 {
              try? out.rewrite(packet) { edit throws(RewriteError) in
                try edit.setDestinationPort(8)
              }
            }
            out.permit()
          }
        ) {
          defer { gate.open() }
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2", hasRoom: true)
          sender.send(0)
          try await expectSoon { gate.arrivals == 1 }
          sender.send(1, size: 20_000)
          sender.send(count: 3, first: 2)
          QueueSockets.shrinkSendBuffers()
          gate.open()
          try await expectSoon { receiver.count == 4 }
          #expect(receiver.contents.sequences == [0, 2, 3, 4])
          let queue = try await bridge.statistics().queues[0]
          #expect(queue.verdictsUnsent == 1 && queue.waiting == 1 && queue.rewritten == 1)
          try await expectAccounting(bridge)
          sender.send(count: 3, first: 5)
          try await expectSoon { receiver.count == 7 }
          try await expectAccounting(bridge)
        }
      }
    }

    @Test(arguments: FailurePolicy.allCases)
    func `Messages that are cut short get the failure policy, and are counted once`(
      _ failure: FailurePolicy
    ) async throws {
      try await withTopology { _ in
        let bridge = makeBridge {
          $0.copyRange = 128
          $0.failurePolicy = failure
        }
        try await running(bridge, policy([.outboundTransportV4]) { _, out in out.permit() }) {
          let receiver = Receiver(in: "p1")
          QueueSockets.copyWholePackets(of: 31000)
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 3, size: 1400)
          sender.send(count: 2, first: 3)
          try await expectSoon {
            try await bridge.statistics().queues[0].permitted == 2
          }
          let queue = try await bridge.statistics().queues[0]
          #expect(queue.malformedMessages == 3 && queue.failurePolicyApplied == 3)
          #expect(queue.idGaps == 0 && queue.verdicts == 5)
          try await expectAccounting(bridge)
          let arrivals = failure == .permit ? 5 : 2
          try await expectSoon { receiver.count == arrivals }
        }
      }
    }

    @Test func `A copy range of 0 is the whole packet, also through changes`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.copyRange = 0 }
        func make(readingOwner: Bool) -> FilterPolicy {
          var result = policy([.outboundTransportV4], revision: "\(readingOwner)") { _, out in
            out.permit()
          }
          result.callouts[0].readsSocketOwner = readingOwner
          return result
        }
        try await running(bridge, make(readingOwner: false)) {
          try await bridge.apply(make(readingOwner: true))
          Sender(to: "10.9.1.2").send(count: 3, size: 1400)
          try await expectSoon { try await bridge.statistics().queues[0].permitted == 3 }
          #expect(try await bridge.statistics().queues[0].malformedMessages == 0)
        }
      }
    }

    @Test func `F77: bits outside the mask are unchanged`() async throws {
      try await withTopology { topology in
        let foreign: UInt32 = 0x8000_00a5
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let marks = Shared<[UInt32]>([])
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            // Name look-ups of other programs may pass too.
            guard packet.layout.destinationPort == 7 else { return }
            let mark = packet.metadata.mark
            marks.change { $0.append(mark) }
            if packet.hook == .output { try? out.associate(packet.sequence, with: tag) }
          }
        ) {
          // Added now: an unmasked match would be a conflict at the start.
          try topology.countDepartures("udp dport 7 meta mark \(foreign)")
          Sender(to: "10.9.1.2", mark: foreign).send(count: 50)
          try await expectSoon { marks.value.count == 100 }
          #expect(marks.value.allSatisfy { $0 & ~wideMask == foreign })
          #expect(marks.value.filter { $0 & wideMask != 0 }.count == 50)
          try await expectSoon { try topology.departures() == 50 }
        }
      }
    }

    @Test func `Two queues: a context of the other worker is found`() async throws {
      try await withTopology { _ in
        try Shell.run(
          """
          iptables -t mangle -A OUTPUT -p udp --dport 7 -j NFQUEUE --queue-num 31000
          iptables -t mangle -A POSTROUTING -p udp --dport 7 -j NFQUEUE --queue-num 31001
          """)
        let bridge = makeBridge {
          $0.queueCount = 2
          $0.rules = .unmanaged
        }
        let tag = bridge.makeTag(named: "t")
        let found = Shared<[UInt64?]>([])
        try await bridge.start(
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            if packet.hook == .output {
              try? out.associate(packet.sequence, with: tag)
            } else {
              let context = try? out.retrieve(tag)
              found.change { $0.append(context) }
            }
          })
        let receiver = Receiver(in: "p1")
        Sender(to: "10.9.1.2").send(count: 500)
        try await expectSoon { receiver.count == 500 }
        #expect(found.value == (0..<500).map { UInt64($0) })
        #expect(receiver.contents.late == 0)
        let statistics = try await bridge.statistics()
        #expect(statistics.queues[1].handedOver == 500)
        #expect(statistics.queues[0].packets == 1000)
        try await expectSoon { try await bridge.statistics().tagging.live == 0 }
        try await expectAccounting(bridge)
        _ = await bridge.stop()
      }
    }

    @Test(arguments: FailurePolicy.allCases)
    func `Repeat: four rounds, then the failure policy`(_ failure: FailurePolicy) async throws {
      try await withTopology { _ in
        let bridge = makeBridge { $0.failurePolicy = failure }
        let rounds = Shared<[UInt64: Int]>([:])
        try await running(
          bridge,
          policy([.outboundTransportV4]) { packet, out in
            let sequence = packet.sequence
            rounds.change { $0[sequence, default: 0] += 1 }
            out.repeat()
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 10)
          try await expectSoon {
            try await bridge.statistics().queues[0].failurePolicyApplied == 10
          }
          #expect(rounds.value.count == 10)
          #expect(rounds.value.values.allSatisfy { $0 == 5 })
          #expect(try await bridge.statistics().queues[0].repeated == 40)
          if failure == .permit { try await expectSoon { receiver.count == 10 } }
          #expect(receiver.count == (failure == .permit ? 10 : 0))
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `Requeue: to another program's queue, and to none`() async throws {
      try await withTopology { _ in
        let other = makeBridge {
          $0.firstQueue = 32000
          $0.rules = .unmanaged
          $0.mark = .off
        }
        let seenByOther = Shared(0)
        try await other.start(
          policy([.outboundTransportV4]) { _, out in
            seenByOther.change { $0 += 1 }
            out.permit()
          })
        let bridge = makeBridge()
        let tag = bridge.makeTag(named: "t")
        let found = Shared<[UInt64?]>([])
        let refusals = Shared<[RequeueError]>([])
        try await running(
          bridge,
          policy([.outboundTransportV4, .outboundIPPacketV4], tags: [tag]) { packet, out in
            guard packet.hook == .output else {
              let context = try? out.retrieve(tag)
              found.change { $0.append(context) }
              return
            }
            try? out.associate(packet.sequence, with: tag)
            do throws(RequeueError) {
              try out.requeue(to: packet.sequence < 10 ? 32000 : 33000)
            } catch {
              refusals.change { $0.append(error) }
              out.permit()
            }
          }
        ) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 10)
          try await expectSoon { receiver.count == 10 }
          sender.send(count: 10, first: 10)
          try await expectSoon { receiver.count == 20 }
          #expect(seenByOther.value == 10)
          #expect(refusals.value == [RequeueError](repeating: .notBound(queue: 33000), count: 10))
          #expect(found.value == (0..<20).map { UInt64($0) })
          #expect(try await bridge.statistics().queues[0].requeued == 10)
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
          try await expectAccounting(bridge)
        }
        _ = await other.stop()
      }
    }
  }
}
