// SPDX-License-Identifier: Apache-2.0

import Kernel
import Synchronization
import Testing

@testable import PacketTagging

/// What is concluded from what the kernel noted under a handle.
@Suite struct SightingTests {
  /// One line of the table: what was noted, of what packet, and how it ends.
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var seen: Sighting.Seen
    var isInbound = false
    var isArriving = false
    var isExpected = false
    var isDatagram = false
    var isFragment = false
    /// Milliseconds between the last note and the look.
    var age: UInt64 = 10
    var isFreed = false
    var reason: RemovalReason?
    var completed: LifeEventKind?
    var certainty = Certainty.exact
    var isRead = false
  }

  static let cases = [
    Case(testDescription: "nothing", seen: [], reason: nil),
    Case(
      testDescription: "sent", seen: .sent, reason: .transmitted, completed: .sendComplete),
    Case(
      testDescription: "sent just now", seen: .sent, age: 1, reason: nil, completed: .sendComplete),
    Case(
      testDescription: "sent by two devices", seen: [.sent, .devices, .several],
      reason: .transmitted, completed: .sendComplete, certainty: .observed),
    Case(
      testDescription: "sent, then dropped", seen: [.sent, .dropped], reason: .transmitted,
      completed: .sendComplete),
    Case(testDescription: "dropped", seen: .dropped, isFreed: true, reason: .dropped),
    Case(
      testDescription: "read by a program", seen: [.reached, .read], isInbound: true,
      reason: .delivered, completed: .receiveComplete, certainty: .observed, isRead: true),
    Case(
      testDescription: "a datagram freed by its reader", seen: [.reached, .freed], isInbound: true,
      isDatagram: true, isFreed: true, reason: .delivered, completed: .receiveComplete,
      isRead: true),
    Case(
      testDescription: "at a socket, not read yet", seen: .reached, isInbound: true, reason: nil,
      completed: .receiveComplete, certainty: .observed),
    Case(
      testDescription: "at a socket, never read", seen: .reached, isInbound: true, age: 300,
      reason: .delivered, completed: .receiveComplete, certainty: .observed),
    Case(
      testDescription: "dropped with its socket", seen: [.reached, .dropped], isInbound: true,
      isDatagram: true, isFreed: true, reason: .delivered, completed: .receiveComplete),
    Case(
      testDescription: "refused by a full socket", seen: [.reached, .dropped, .refused],
      isInbound: true, isFreed: true, reason: .dropped),
    Case(
      testDescription: "one copy refused, one delivered",
      seen: [.reached, .dropped, .refused, .several], isInbound: true, isFreed: true,
      reason: .delivered, completed: .receiveComplete, certainty: .observed),
    Case(
      testDescription: "taken by the stack", seen: .freed, isInbound: true, isFreed: true,
      reason: .delivered, completed: .receiveComplete),
    Case(
      testDescription: "taken by the stack after the loopback device", seen: [.freed, .looped],
      isFreed: true, reason: .delivered, completed: .receiveComplete),
    Case(
      testDescription: "freed on its way out", seen: .freed, isFreed: true, reason: nil,
      certainty: .inferred),
    Case(
      testDescription: "freed on its way out, long ago", seen: .freed, age: 2100, isFreed: true,
      reason: .released, certainty: .inferred),
    Case(
      testDescription: "a fragment freed", seen: .freed, isFragment: true, age: 2100,
      isFreed: true, reason: .reassembled, completed: .reassembledFragment, certainty: .observed),
    Case(
      testDescription: "freed after PREROUTING: it may be forwarded", seen: .freed,
      isArriving: true, isFreed: true, reason: nil, completed: .receiveComplete,
      certainty: .inferred),
    Case(
      testDescription: "freed after PREROUTING, long ago", seen: .freed, isArriving: true,
      age: 2100, isFreed: true, reason: .delivered, completed: .receiveComplete,
      certainty: .inferred),
    Case(
      testDescription: "sent, but another hook of ours is to be met", seen: .sent,
      isExpected: true, reason: nil, completed: .sendComplete),
    Case(
      testDescription: "a reply that bears the mark of what it answers", seen: [.sent, .freed],
      isInbound: true, isFreed: true, reason: .delivered, completed: .receiveComplete),
    Case(
      testDescription: "met in another namespace", seen: [.left, .freed], isFreed: true,
      reason: .leftNamespace),
  ]

  @Test(arguments: cases)
  func `what was seen tells the end`(_ line: Case) throws {
    let now: UInt64 = 50_000_000_000
    var entry = ContextEntry()
    entry.isInbound = line.isInbound
    entry.isDatagram = line.isDatagram
    entry.isExpected = line.isExpected
    if line.isArriving { entry.increment(.prerouting) }
    entry.isFragment = line.isFragment
    var sighting = Sighting()
    sighting.seen = line.seen
    let time = UInt32((now - line.age * 1_000_000) >> 10)
    if line.seen.contains(.sent) { sighting.sent = time }
    if line.seen.contains(.reached) { sighting.reached = time }
    if line.isFreed { sighting.ended = time }
    guard let fate = Fate(sighting, entry, now, patience: 2_000_000_000) else {
      #expect(line.reason == nil && line.completed == nil)
      return
    }
    #expect(fate.isFinal == (line.reason != nil))
    if let reason = line.reason { #expect(fate.reason == reason) }
    #expect(fate.completed == line.completed)
    #expect(fate.certainty == line.certainty)
    #expect(fate.isRead == line.isRead)
  }

  /// Stands for the kernel.
  final class Source: SightingSource {
    let array: SharedArray<Sighting>
    private let calls = Mutex<[String]>([])
    init(countsCopies: Bool = false) throws {
      array = try SharedArray(count: 1 << 12)
      counts = countsCopies ? try SharedArray(count: 1 << 12) : nil
      counts?.view.isCounting = countsCopies
    }
    let counts: SharedArray<BearerCount>?
    var sightings: SharedView<Sighting> { array.view }
    var bearers: SharedView<BearerCount>? { counts?.view }
    var tellsDelivery: Bool { true }
    func watch() { calls.withLock { $0.append("watch") } }
    func rest() { calls.withLock { $0.append("rest") } }
    var log: [String] { calls.withLock { $0 } }
  }

  @Test func `the kernel is watched while there are contexts, and a second longer`() throws {
    let source = try Source()
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    #expect(source.log.isEmpty)
    let packet = rig.tagged([(7, rig.tag())])
    #expect(source.log == ["watch"])
    leave(packet, rig)
    source.sightings[Int(packet.handle)].seen = .sent
    source.sightings[Int(packet.handle)].sent = UInt32(truncatingIfNeeded: rig.table.now >> 10)
    source.sightings[Int(packet.handle)].device = 3
    rig.advance(3)
    look(rig)
    #expect(rig.counters.ended == 0, "it is too early to look")
    rig.advance(3)
    look(rig)
    let events = rig.events()
    #expect(events.map(\.kind) == [.enteredNetIO, .exitNetIO, .sendComplete, .contextRemoved])
    #expect(events.last?.reason == .transmitted)
    #expect(events.last?.device == 3)
    #expect(source.log == ["watch"])
    rig.advance(5100)
    look(rig)
    #expect(source.log == ["watch", "rest"])
    _ = rig.tagged([(8, rig.tag())])
    #expect(source.log == ["watch", "rest", "watch"])
  }

  @Test func `a new handle has nothing of what was seen before`() throws {
    let source = try Source()
    for slot in 0..<64 { source.sightings[slot].seen = [.reached, .dropped, .sent] }
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let packet = rig.tagged([(7, rig.tag())])
    #expect(source.sightings[Int(packet.handle)] == Sighting())
  }

  @Test func `a packet of which nothing is seen is lost after the sweep's time`() throws {
    let rig = Rig(mask: 0x0fff_ff00, source: try Source())
    leave(rig.tagged([(7, rig.tag())]), rig)
    for _ in 0..<39 {
      rig.advance(50)
      look(rig)
      #expect(rig.counters.ended == 0)
    }
    for _ in 0..<3 {
      rig.advance(50)
      look(rig)
    }
    #expect(rig.story() == ["entered_netio", "exit_netio", "lost"])
  }

  @Test func `packets that are blocked at once do not turn the observer on and off`() throws {
    let source = try Source()
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let tag = rig.tag()
    rig.advance(60_000)
    for _ in 0..<5 {
      let packet = rig.tagged([(7, tag)])
      rig.finish(packet, .blocked)
      look(rig)
    }
    #expect(source.log == ["watch"])
  }

  @Test func `a handle whose packet may still be under way is not the next one's`() throws {
    let rig = Rig(mask: 0x0fff_ff00, source: try Source())
    let tag = rig.tag()
    let lost = rig.tagged([(7, tag)])
    leave(lost, rig)
    for _ in 0..<45 {
      rig.advance(50)
      look(rig)
    }
    #expect(rig.story().last == "lost")
    rig.advance(1000)
    #expect(rig.tagged([(8, tag)]).handle != lost.handle)
  }

  @Test func `nor is one of which copies were seen`() throws {
    let source = try Source()
    let rig = Rig(mask: 0x0fff_ff00, source: source)
    let tag = rig.tag()
    let flooded = rig.tagged([(7, tag)])
    leave(flooded, rig)
    source.sightings[Int(flooded.handle)].seen = [.sent, .devices, .several]
    source.sightings[Int(flooded.handle)].sent = UInt32(truncatingIfNeeded: rig.table.now >> 10)
    rig.advance(100)
    look(rig)
    #expect(rig.story().last == "transmitted")
    rig.advance(1000)
    #expect(rig.tagged([(8, tag)]).handle != flooded.handle)
  }

  @Test func `a fragment that copies share is not ended with its packet`() throws {
    let rig = Rig(mask: 0x0fff_ff00, source: try Source())
    let (shared, moved) = (rig.tag(), rig.tag(.move))
    let first = fragment(rig)
    #expect(rig.put(1, shared, first) == nil)
    let second = fragment(rig)
    #expect(rig.put(2, shared, second) == nil && rig.put(3, moved, second) == nil)
    rig.letGo(first, from: .prerouting)
    rig.letGo(second, from: .prerouting)
    // Back at the hook that it has left: a copy, which bears the tags that follow copies.
    let copy = rig.meet(second.handle, at: .prerouting, flow: 0)
    #expect(rig.get(shared, copy) == 2)
    _ = rig.meet(first.handle, at: .input, flow: 0)
    #expect(rig.get(shared, copy) == 2)
    rig.advance(100)
    _ = rig.tagged([(99, shared)])
    #expect(rig.get(shared, copy) == 2)
  }

  private func fragment(_ rig: Rig) -> TestPacket {
    let packet = rig.packet(flow: 0)
    packet.packet.fragmentKey = 5
    return packet
  }

  @Test func `handles beyond what the kernel can note are not given out`() throws {
    let source = try Source()
    let rig = Rig(mask: 0x3fff_ff00, source: source)
    let tag = rig.tag()
    var refused = 0
    for number in 0..<5000 where rig.put(UInt64(number), tag, rig.packet()) != nil { refused += 1 }
    #expect(refused == 5000 - 4095)
  }

  private func leave(_ packet: TestPacket, _ rig: Rig) {
    rig.table.leave(packet.handle, .postrouting, isInbound: false, .exact, layer: 16)
  }

  private func look(_ rig: Rig) {
    _ = rig.table.followDepartures()
    rig.table.sweep()
  }
}
