// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import PacketViews
import Synchronization
import Testing

struct ARPInspectTests {
  let board = TallyBoard()
  let alerts = Alerts()

  final class Alerts: Sendable {
    let list = Mutex<[ARPAlert]>([])
    var violations: [ARPViolation] { list.withLock { $0.map(\.violation) } }
  }

  private func makeBench(_ configuration: ARPInspectCallout.Configuration) throws
    -> ClassificationBench
  {
    var configuration = configuration
    configuration.log = EventRate(1000, per: .seconds(1))
    return try ClassificationBench(
      ARPInspectCallout.registration(
        name: "guard", configuration, counting: board,
        sink: { [alerts] note in
          guard case .wrongARP(let alert) = note.contents else { return }
          alerts.list.withLock { $0.append(alert) }
        }),
      layer: .inboundMACFrameEthernet)
  }

  private static func binding(_ last: UInt8, _ owner: UInt64) -> ARPBinding {
    ARPBinding(IPAddress(10, 0, 0, last), MACAddress(rawValue: 0x0200_0000_0000 | owner))
  }

  @Test func `what is right is left to others, and so is all that is no ARP`() throws {
    var bench = try makeBench(
      ARPInspectCallout.Configuration(bindings: [Self.binding(1, 1)], learns: false))
    for bytes in [
      SampleFrame.arp(), SampleFrame.arp(2, target: SampleFrame.two, to: SampleFrame.two),
      SampleFrame.arp(claims: [0, 0, 0, 0]), SampleFrame.arp(claims: [10, 0, 0, 77]),
      SampleFrame.arp(vlan: 7), SampleFrame.dnsQuery,
    ] {
      #expect(try bench.classify(frame: bytes).word == "permit")
    }
    #expect(alerts.violations.isEmpty && board.packets == 6 && board.refused == 0)
  }

  @Test func `each lie is found`() throws {
    var bench = try makeBench(
      ARPInspectCallout.Configuration(bindings: [Self.binding(1, 1)], learns: false))
    let (one, two) = (SampleFrame.one, SampleFrame.two)
    for (bytes, violation) in [
      (SampleFrame.arp(from: two), .addressIsTaken),
      (SampleFrame.arp(from: one, source: two), .senderIsNotSource),
      (SampleFrame.arp(2, target: one, to: two), .targetIsNotDestination),
      (SampleFrame.arp(from: SampleFrame.all, source: one), .senderIsNoStation),
      (SampleFrame.arp(from: [0, 0, 0, 0, 0, 0], source: one), .senderIsNoStation),
      (Array(SampleFrame.arp()[..<40]), .unreadable),
      (Array(SampleFrame.arp()[..<16]), .unreadable),
    ] as [([UInt8], ARPViolation)] {
      #expect(try bench.classify(frame: bytes).word == "block", "\(violation)")
      #expect(alerts.violations.last == violation)
    }
    #expect(board.refused == 7)
    let first = alerts.list.withLock { $0.first }
    #expect(
      first?.description == "ARP address belongs to another: 02:00:00:00:00:02 says that 10.0.0.1 "
        + "is 02:00:00:00:00:02, which is 02:00:00:00:00:01's")
  }

  @Test func `each of many known owners is found, and the first for an address counts`() throws {
    var bindings: [ARPBinding] = []
    for step in 0..<200 {
      let last = step * 37 % 200
      bindings.append(Self.binding(UInt8(last), UInt64(last + 100)))
    }
    bindings.append(Self.binding(5, 1))
    var bench = try makeBench(
      ARPInspectCallout.Configuration(bindings: bindings, learns: false))
    for last in 0..<220 as Range<UInt8> {
      let number = Int(last) + 100
      let owner: [UInt8] = [2, 0, 0, 0, UInt8(number >> 8), UInt8(number & 255)]
      let right = SampleFrame.arp(from: owner, claims: [10, 0, 0, last])
      #expect(try bench.classify(frame: right).word == "permit")
      let wrong = SampleFrame.arp(claims: [10, 0, 0, last])
      #expect(try bench.classify(frame: wrong).word == (last < 200 ? "block" : "permit"))
    }
  }

  @Test func `owners are learned from what is heard first, per interface and VLAN`() throws {
    var bench = try makeBench(ARPInspectCallout.Configuration())
    let mine = SampleFrame.arp()
    let theirs = SampleFrame.arp(from: SampleFrame.two)
    #expect(try bench.classify(frame: mine).word == "permit")
    #expect(try bench.classify(frame: theirs).word == "block")
    #expect(
      try bench.classify(frame: SampleFrame.arp(from: SampleFrame.two, vlan: 3)).word == "permit")
    #expect(try bench.classify(frame: SampleFrame.arp(vlan: 3)).word == "block")
    var other = FrameMetadata()
    other.interfaceIndex = 9
    #expect(try bench.classify(frame: theirs, metadata: other).word == "permit")
    #expect(alerts.violations == [.addressIsTaken, .addressIsTaken])
  }

  @Test func `an owner that is not heard of for long is forgotten, one that is known never`() throws
  {
    var bench = try makeBench(
      ARPInspectCallout.Configuration(bindings: [Self.binding(5, 1)], keeps: .seconds(60)))
    let theirs = SampleFrame.arp(from: SampleFrame.two)
    _ = try bench.classify(frame: SampleFrame.arp())
    bench.out.contexts.now += 50_000_000_000
    _ = try bench.classify(frame: SampleFrame.arp())
    bench.out.contexts.now += 50_000_000_000
    #expect(try bench.classify(frame: theirs).word == "block")
    bench.out.contexts.now += 60_000_000_000
    #expect(try bench.classify(frame: theirs).word == "permit")
    let known = SampleFrame.arp(from: SampleFrame.two, claims: [10, 0, 0, 5])
    #expect(try bench.classify(frame: known).word == "block")
  }

  @Test func `a full table learns nothing more and forgets nobody`() throws {
    var bench = try makeBench(ARPInspectCallout.Configuration(capacity: 8))
    for number in 0..<64 as Range<UInt8> {
      let bytes = SampleFrame.arp(claims: [10, 0, 1, number])
      #expect(try bench.classify(frame: bytes).word == "permit")
    }
    var blocked = 0
    for number in 0..<64 as Range<UInt8> {
      let bytes = SampleFrame.arp(from: SampleFrame.two, claims: [10, 0, 1, number])
      if try bench.classify(frame: bytes).word == "block" { blocked += 1 }
    }
    #expect(blocked == 8)
  }

  @Test func `each sender has its rate`() throws {
    var bench = try makeBench(
      ARPInspectCallout.Configuration(learns: false, rate: EventRate(5, per: .seconds(1))))
    func passed(_ sender: [UInt8]) throws -> Int {
      try (0..<20).count { _ in
        try bench.classify(frame: SampleFrame.arp(from: sender)).word == "permit"
      }
    }
    #expect(try passed(SampleFrame.one) == 5)
    #expect(try passed(SampleFrame.two) == 5)
    bench.out.contexts.now += 400_000_000
    #expect(try passed(SampleFrame.one) == 2)
    #expect(Set(alerts.violations) == [.tooMany])
  }

  @Test func `where wrong packets may pass, they are told of all the same`() throws {
    var bench = try makeBench(ARPInspectCallout.Configuration(blocks: false))
    _ = try bench.classify(frame: SampleFrame.arp())
    #expect(try bench.classify(frame: SampleFrame.arp(from: SampleFrame.two)).word == "permit")
    #expect(alerts.violations == [.addressIsTaken] && board.refused == 1)
  }
}
