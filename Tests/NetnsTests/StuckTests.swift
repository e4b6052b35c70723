// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

/// Holds up whoever comes, until it is opened.
final class Gate: Sendable {
  private let state = Shared((isOpen: false, arrivals: 0))
  var arrivals: Int { state.value.arrivals }

  func pass() {
    state.change { $0.arrivals += 1 }
    while !state.value.isOpen { usleep(200) }
  }

  func open() { state.change { $0.isOpen = true } }
}

extension NetnsTests {
  /// Workers that a callout holds up, and calls that would wait for themselves.
  @Suite struct Stuck {
    @Test func `Stop: a worker that is held up decides its pended packets before it ends`()
      async throws
    {
      try await withTopology { _ in
        let held = HeldPackets()
        let log = EventLog()
        let lines = Shared<[String]>([])
        let gate = Gate()
        let bridge = makeBridge(log: lines) {
          $0.pendDeadline = .seconds(300)
          $0.patience = .milliseconds(100)
        }
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("log") { log.note($0) }
        try await bridge.start(
          policy([.outboundTransportV4], tags: [tag], pended: { held.keep($0) }) { packet, out in
            try? out.associate(packet.sequence, with: tag, notify: notify)
            guard packet.sequence >= 100 else { return out.pend() }
            gate.pass()
            out.permit()
          })
        let receiver = Receiver(in: "p1")
        Sender(to: "10.9.1.2").send(count: 5)
        try await expectSoon { held.count == 5 }
        Sender(to: "10.9.1.2").send(100)
        try await expectSoon { gate.arrivals == 1 }
        // These wait in the kernel, which drops them where the queue ends.
        Sender(to: "10.9.1.2").send(count: 3, first: 101)
        // A thread, since stop holds up the one it runs on.
        let opener = Background {
          let deadline = ContinuousClock.now + .seconds(10)
          while lines.value.isEmpty, ContinuousClock.now < deadline { usleep(1000) }
          gate.open()
        }
        let report = await bridge.stop()
        opener.join()
        #expect(report.decided == 5)
        #expect(report.rulesRemoved)
        #expect(report.notes.count == 2)
        #expect(report.notes[0].contains("queue 31000: the worker does not answer"))
        #expect(report.notes[1].contains("queue 31000: 3 packets"))
        try await expectSoon { receiver.count == 6 }
        // Nothing is told of packets that came after the queue was given back.
        #expect(gate.arrivals == 1)
        #expect(Set(log.all.map(\.context)) == [0, 1, 2, 3, 4, 100])
        #expect(log.reasons() == [RemovalReason](repeating: .released, count: 6))
      }
    }

    @Test func `Stop: a backlog is served to its end as long as it shrinks`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        try await bridge.start(
          policy([.outboundTransportV4]) { _, out in
            usleep(1000)
            out.permit()
          })
        let receiver = Receiver(in: "p1")
        let sent = Sender(to: "10.9.1.2", hasRoom: true).send(count: 2500)
        let report = await bridge.stop()
        #expect(report.notes.isEmpty)
        try await expectSoon { receiver.count == sent }
      }
    }

    @Test func `A slow callout does not hold up the verdicts of a whole batch`() async throws {
      try await withTopology { _ in
        let gate = Gate()
        let receiver = Receiver(in: "p1")
        let (seen, early) = (Shared(0), Shared(0))
        let bridge = makeBridge()
        try await running(
          bridge,
          policy([.outboundTransportV4]) { _, out in
            out.permit()
            seen.change { $0 += 1 }
            // The first is held, so that all others wait when the next are received.
            if seen.value == 1 { return gate.pass() }
            if seen.value == 300 { early.change { $0 = receiver.count } }
            usleep(1000)
          }
        ) {
          let sender = Sender(to: "10.9.1.2", hasRoom: true)
          sender.send(count: 1)
          try await expectSoon { seen.value == 1 }
          sender.send(count: 400)
          gate.open()
          try await expectSoon { receiver.count == 401 }
          #expect(early.value > 100, "\(early.value) of 300 had come")
        }
      }
    }

    @Test func `What is registered while a worker is held up takes effect`() async throws {
      try await withTopology { _ in
        let gate = Gate()
        let late = Shared(NotifyID.none)
        let refusals = Shared<[TaggingError]>([])
        let bridge = makeBridge { $0.patience = .milliseconds(100) }
        let tag = bridge.makeTag(named: "t")
        try await running(
          bridge,
          policy([.outboundTransportV4], tags: [tag]) { packet, out in
            out.permit()
            if packet.sequence == 1 { return gate.pass() }
            do throws(TaggingError) {
              try out.associate(7, with: tag, notify: late.value)
            } catch {
              refusals.change { $0.append(error) }
            }
          }
        ) {
          defer { gate.open() }
          Sender(to: "10.9.1.2").send(1)
          try await expectSoon { gate.arrivals == 1 }
          let log = EventLog()
          let notify = bridge.registerNotify("late") { log.note($0) }
          late.change { $0 = notify }
          let seen = Shared(0)
          let events = bridge.events()
          let reader = Task { for await _ in events { seen.change { $0 += 1 } } }
          defer { reader.cancel() }
          gate.open()
          Sender(to: "10.9.1.2").send(2)
          try await expectSoon { log.all.count == 2 && seen.value == 2 }
          #expect(refusals.value.isEmpty)
        }
      }
    }

    @Test func `Calls on a worker's own thread do not wait for it`() async throws {
      try await withTopology { _ in
        let outcomes = Shared<[Result<UInt64, TaggingError>]>([])
        let longest = Shared(Duration.zero)
        let log = EventLog()
        let bridge = makeBridge { $0.patience = .seconds(60) }
        let tag = bridge.makeTag(named: "t")
        let both = FilterPolicy(
          callouts: [
            CalloutRegistration(name: "test", tags: [tag]) {
              let notify = bridge.registerNotify("made with the callout") { log.note($0) }
              return ClosureCallout(
                { packet, out in
                  try? out.associate(packet.sequence, with: tag, notify: notify)
                  out.pend()
                },
                pended: { packet in
                  let result = Result { () throws(TaggingError) in try packet.retrieve(tag) }
                  outcomes.change { $0.append(result) }
                  packet.permit()
                })
            }
          ],
          filters: [
            Filter(
              name: "UDP", layer: .outboundTransportV4,
              conditions: [Condition(.ipProtocol, .equal(17))], action: .calloutUnknown("test"))
          ])
        let begin = ContinuousClock.now
        try await running(bridge, both) {
          longest.change { $0 = ContinuousClock.now - begin }
          Sender(to: "10.9.1.2").send(5)
          try await expectSoon { log.kinds == [.exitNetIO, .contextRemoved] }
          #expect(outcomes.value == [.failure(.wouldDeadlock)])
        }
        #expect(longest.value < .seconds(30))
      }
    }
  }
}
