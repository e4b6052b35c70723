// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import PacketViews
import Testing

extension NetnsTests {
  /// Frames of every form, which must come out as they went in.
  @Suite(.diverts) struct DivertFrames {
    /// Types and what follows them.
    private static let forms: [(name: String, head: [UInt8], size: Int)] = [
      ("14 bytes", [0x88, 0xb5], 14), ("20 bytes", [0x88, 0xb5], 20),
      ("a length of 802.3", [0, 50], 64), ("a wrong length of 802.3", [0, 20], 24),
      ("60 bytes", [0x88, 0xb5], 60), ("1514 bytes", [0x88, 0xb5], 1514),
      ("802.1Q", [0x81, 0, 0xa0, 0x64, 0x88, 0xb5], 64),
      ("802.1Q, 1518 bytes", [0x81, 0, 0xa0, 0x64, 0x88, 0xb5], 1518),
      ("802.1Q with a priority only", [0x81, 0, 0xe0, 0, 0x88, 0xb5], 64),
      ("802.1ad", [0x88, 0xa8, 0x20, 5, 0x88, 0xb5], 64),
      ("802.1ad and 802.1Q", [0x88, 0xa8, 0x20, 5, 0x81, 0, 0xa0, 0x64, 0x88, 0xb5], 68),
      ("802.1Q in 802.1Q", [0x81, 0, 0, 5, 0x81, 0, 0xa0, 0x64, 0x88, 0xb5], 68),
      ("a tag within 802.3", [0x81, 0, 0, 5, 0, 46], 64),
    ]

    @Test(arguments: [LinkDirection.outbound, .inbound])
    func `runts, 802.3 lengths and VLAN tags of all kinds are unharmed`(
      _ direction: LinkDirection
    ) async throws {
      try await withTopology { topology in
        try topology.silence()
        let isOutbound = direction == .outbound
        let seen = Shared<[[UInt8]]>([])
        let divert = try Diversion("a1", direction) { frame in
          let bytes = frame.bytes.withUnsafeBytes { Array($0) }
          seen.change { $0.append(bytes) }
          return .permit
        }
        let from = isOutbound ? FrameTap("a1") : FrameTap(in: "p1", "b1")
        let to =
          isOutbound
          ? FrameTap(in: "p1", "b1", seeing: FrameTap.all) : FrameTap("a1", seeing: FrameTap.all)
        defer {
          from.close()
          to.close()
        }
        let destination = isOutbound ? Ends.peer : Ends.host
        let source = isOutbound ? Ends.host : Ends.peer
        for (name, head, size) in Self.forms {
          let frame = experiment(to: destination, from: source, type: head, size: size)
          to.forget()
          seen.change { $0 = [] }
          #expect(from.send(frame) == 0, "\(name)")
          try await expectSoon { seen.value.contains(frame) }
          try await expectSoon { try divert.counters.tally.permitted == divert.counters.returned }
          try await expectSoon {
            to.seen.filter { $0.bytes == frame }.count == (isOutbound ? 1 : 2)
          }
          #expect(to.seen.allSatisfy { $0.bytes == frame && $0.packetType == 0 }, "\(name)")
        }
        let counters = try divert.stop()
        expectAccounting(counters)
        #expect(counters.tally.permitted == UInt64(Self.forms.count))
      }
    }

    @Test func `a frame that the device itself would refuse goes through the helper`() async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let divert = try Diversion("a1", .outbound)
        let to = FrameTap(in: "p1", "b1", seeing: FrameTap.all)
        defer { to.close() }
        // The peer of a veth device takes a tag more than its MTU, the packet socket here does not.
        let tagged = experiment(
          type: [0x88, 0xa8, 0x20, 5, 0x81, 0, 0xa0, 0x64, 0x88, 0xb5], size: 1518)
        #expect(divert.injector.inject(tagged.span.packetBytes) == .sent)
        try await expectSoon { to.seen.contains { $0.bytes == tagged } }
        try divert.stop()
      }
    }

    @Test func `the packet type follows the device's address`() async throws {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run("ip link set a1 promisc on")
        let divert = try Diversion("a1", .inbound)
        let from = FrameTap(in: "p1", "b1")
        let to = FrameTap("a1")
        defer {
          from.close()
          to.close()
        }
        for (destination, type) in [
          (Ends.host, 0 as UInt8), (Ends.broadcast, 1), ([1, 0, 0x5e, 1, 2, 3], 2), (Ends.peer, 3),
        ] {
          to.forget()
          from.send(experiment(to: destination, from: [2, 0, 0, 0, 7, 7]))
          try await expectSoon { to.count == 1 }
          #expect(to.seen.map(\.packetType) == [type])
        }
        expectAccounting(try divert.stop())
      }
    }

    @Test(arguments: [40, 60, 64, 1514])
    func `other bytes go on in the place of a frame`(_ size: Int) async throws {
      try await withTopology { topology in
        try topology.silence()
        let replacement = experiment(number: 99, size: size)
        let divert = try Diversion("a1", .outbound) { _ in .replace(replacement) }
        let from = FrameTap("a1")
        let to = FrameTap(in: "p1", "b1")
        defer {
          from.close()
          to.close()
        }
        from.send(experiment(size: 60))
        from.send(experiment(size: 1514))
        try await expectSoon { to.count == 2 }
        #expect(to.seen.allSatisfy { $0.bytes == replacement })
        let counters = try divert.stop()
        #expect(counters.tally.replaced == 2)
        expectAccounting(counters)
      }
    }

    @Test func `a frame that outgrows its slot finds another place`() async throws {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run("ip link set a1 mtu 9000; ip -n p1 link set b1 mtu 9000")
        let replacement = experiment(number: 5, size: 9014)
        let divert = try Diversion("a1", .outbound) { _ in .replace(replacement) }
        let from = FrameTap("a1")
        let to = FrameTap(in: "p1", "b1")
        defer {
          from.close()
          to.close()
        }
        from.send(experiment(size: 60))
        try await expectSoon { to.count == 1 }
        #expect(to.seen.first?.bytes == replacement)
        expectAccounting(try divert.stop())
      }
    }

    @Test func `frames larger than a slot come whole, in order with the small ones`() async throws {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run("ip link set a1 mtu 9000; ip -n p1 link set b1 mtu 9000")
        let divert = try Diversion("a1", .outbound)
        let from = FrameTap("a1")
        let to = FrameTap(in: "p1", "b1")
        defer {
          from.close()
          to.close()
        }
        let frames = (0..<200).map { number in
          experiment(
            number: UInt8(number), size: [60, 9014, 1900, 1950, 2000, 2048, 1514, 5000][number % 8])
        }
        for frame in frames { #expect(from.send(frame) == 0) }
        try await expectSoon { to.count == frames.count }
        #expect(to.seen.map(\.bytes) == frames)
        expectAccounting(try divert.stop())
      }
    }

    @Test(arguments: FrameFailurePolicy.allCases)
    func `frames that nobody decides get the failure policy`(
      _ policy: FrameFailurePolicy
    ) async throws {
      try await withTopology { topology in
        try topology.silence()
        let divert = try Diversion("a1", .outbound, policy: policy) { frame in
          frame.bytes.byteCount == 60 ? .leaveUndecided : .permit
        }
        let from = FrameTap("a1")
        let to = FrameTap(in: "p1", "b1")
        defer {
          from.close()
          to.close()
        }
        for _ in 0..<5 { from.send(experiment(size: 60)) }
        from.send(experiment(size: 61))
        let arrivals = policy == .permit ? 6 : 1
        try await expectSoon { to.count == arrivals && to.seen.last?.bytes.count == 61 }
        let counters = try divert.stop()
        #expect(counters.tally.undecided == 5)
        expectAccounting(counters)
      }
    }
  }
}
