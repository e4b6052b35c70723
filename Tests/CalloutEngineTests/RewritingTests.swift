// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct RewritingTests {
  let bench = Bench()
  typealias Script = (borrowing ClassifiedPacket, inout Classification) -> Void

  func run(_ bytes: [UInt8], captured: Int? = nil, _ scripts: Script...) throws {
    let named = scripts.enumerated().map { ("c\($0)", $1) }
    try bench.adopt(
      named.enumerated().map {
        filter(.calloutInspection($1.0), weight: .explicit(UInt64(100 - $0)))
      }, named)
    _ = try bench.decide(bytes, captured: captured)
  }

  static func error(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification,
    _ change: (inout PacketEdit) throws(RewriteError) -> Void
  ) -> RewriteError? {
    do {
      try out.rewrite(packet, change)
      return nil
    } catch { return error }
  }

  func layoutOfResult() throws -> PacketLayout {
    let bytes = bench.rewritten
    let layout = try PacketLayout(parsing: bytes.span.packetBytes)
    let header = layout.headerChecksumStatus(in: bytes.span.packetBytes)
    let transport = layout.transportChecksumStatus(in: bytes.span.packetBytes)
    #expect(header == .valid && transport == .valid)
    return layout
  }

  @Test(arguments: [17, 6] as [UInt8])
  func `changed addresses, ports and hops leave right checksums`(number: UInt8) throws {
    try run(Make.ipv4(number)) { packet, out in
      let error = Self.error(packet, &out) { edit throws(RewriteError) in
        try edit.setDestinationAddress(IPAddress(192, 0, 2, 7))
        try edit.setDestinationPort(8053)
        edit.setTimeToLive(9)
      }
      #expect(error == nil)
    }
    let layout = try layoutOfResult()
    #expect(layout.destinationAddress == IPAddress(192, 0, 2, 7))
    #expect(layout.destinationPort == 8053 && layout.sourcePort == 4000 && layout.timeToLive == 9)
    #expect(layout.sourceAddress == IPAddress(10, 0, 0, 1))
  }

  @Test func `a second callout goes on from the first one's result`() throws {
    try run(
      Make.ipv4(17),
      { packet, out in
        let error = Self.error(packet, &out) { edit throws(RewriteError) in
          try edit.setDestinationPort(8053)
        }
        #expect(error == nil)
      },
      { packet, out in
        let error = Self.error(packet, &out) { edit throws(RewriteError) in
          try edit.setSourcePort(7)
        }
        #expect(error == nil)
      })
    let layout = try layoutOfResult()
    #expect(layout.destinationPort == 8053 && layout.sourcePort == 7)
  }

  @Test func `a change that fails leaves nothing, and what was changed before stays`() throws {
    try run(Make.ipv4(17)) { packet, out in
      let error = Self.error(packet, &out) { edit throws(RewriteError) in
        edit.setTimeToLive(1)
        try edit.setDestinationAddress(IPAddress(high: 1, low: 1))
      }
      #expect(error == .wrongVersion)
    }
    #expect(bench.rewritten.isEmpty && bench.out.events.rewritesRefused == 1)
    try run(Make.ipv4(17)) { packet, out in
      let first = Self.error(packet, &out) { edit throws(RewriteError) in
        try edit.setSourcePort(7)
      }
      let second = Self.error(packet, &out) { edit throws(RewriteError) in
        try edit.setDestinationPort(9)
        try edit.setDSCP(64)
      }
      #expect(first == nil && second == .badDSCP(64))
    }
    let layout = try layoutOfResult()
    #expect(layout.sourcePort == 7 && layout.destinationPort == 53)
  }

  @Test func `a packet that was not captured whole is refused`() throws {
    let bytes = Make.ipv4(17, data: [UInt8](repeating: 3, count: 200))
    try run(bytes, captured: 128) { packet, out in
      let error = Self.error(packet, &out) { $0.setTimeToLive(1) }
      #expect(error == .truncated)
      #expect(throws: RewriteError.truncated) { _ = try out.clone(packet).handle }
    }
    #expect(bench.rewritten.isEmpty && bench.out.events.rewritesRefused == 1)
  }

  @Test(arguments: [(65503, true), (65504, false), (65507, false), (65508, false)])
  func `a packet grows as far as a verdict can carry it`(count: Int, isTaken: Bool) throws {
    let payload = [UInt8](repeating: 3, count: count)
    try run(Make.ipv4(17)) { packet, out in
      let error = Self.error(packet, &out) { edit throws(RewriteError) in
        try edit.replacePayload(with: payload.span.packetBytes)
      }
      #expect((error == nil) == isTaken)
    }
    #expect(bench.rewritten.count == (isTaken ? 65531 : 0))
  }
}

@Suite struct PacketCloneTests {
  let bench = Bench()

  func run(_ script: @escaping (borrowing ClassifiedPacket, inout Classification) throws -> Void)
    throws
  {
    try bench.adopt(
      [filter(.calloutInspection("c"))],
      [
        (
          "c",
          { packet, out in
            do { try script(packet, &out) } catch { Issue.record("\(error)") }
          }
        )
      ])
    _ = try bench.decide()
  }

  @Test func `F17: a clone has the packet's bytes and no context, and its making is told`() throws {
    let tag = bench.tag()
    try run { packet, out in
      try out.associate(7, with: tag)
      var clone = try out.clone(packet)
      let bytes = clone.bytes
      #expect(bytes == Make.ipv4(17))
      let context = try? out.retrieve(tag, from: &clone)
      let handle = clone.handle
      #expect(context == nil && handle == 0 && out.handle != 0)
    }
    #expect(bench.events().map(\.kind) == [.clonedViaAPI])
  }

  @Test func `F19: a moved context is on the clone only`() throws {
    let tag = bench.tag()
    try run { packet, out in
      try out.associate(7, with: tag)
      var clone = try out.clone(packet)
      try out.move(tag, to: &clone)
      let context = try out.retrieve(tag, from: &clone)
      #expect(context == 7 && !out.bears(tag))
      #expect(throws: TaggingError.notFound) { try out.move(tag, to: &clone) }
    }
    #expect(bench.out.contexts.counters.live == 1)
    #expect(bench.events().last?.reason == .movedToClone)
  }

  @Test func `F20: a copied context is on both`() throws {
    let tag = bench.tag()
    try run { packet, out in
      try out.associate(7, with: tag)
      var clone = try out.clone(packet)
      try out.copy(tag, to: &clone)
      let context = try out.retrieve(tag, from: &clone)
      #expect(context == 7 && out.bears(tag))
    }
    #expect(bench.out.contexts.counters.live == 2)
  }

  @Test func `a clone that is not sent is freed once, one that is sent is not`() throws {
    let tag = bench.tag()
    try run { packet, out in
      try out.associate(7, with: tag)
      var clone = try out.clone(packet)
      try out.copy(tag, to: &clone)
      clone.bytes[8] = 3
      try clone.injectSend()
      _ = try out.clone(packet)
    }
    let freed = bench.desk.freed.withLock { $0 }
    let injected = bench.desk.injected.withLock { $0 }
    #expect(freed.count == 1 && freed.first?.handle == 0)
    #expect(injected.count == 1 && injected.first?.bytes[8] == 3)
    #expect(injected.first?.packet.handle != 0 && injected.first?.packet.isClone == true)
  }

  @Test func `a clone that the kernel refuses is freed`() throws {
    bench.desk.refusesInjection.withLock { $0 = true }
    try run { packet, out in
      let clone = try out.clone(packet)
      do {
        try clone.injectSend()
        Issue.record("sent")
      } catch {
        #expect(error as? InjectionError == .refused(errno: 1, text: "no"))
      }
    }
    #expect(bench.desk.freed.withLock { $0.count } == 1)
  }

  @Test func `a pended packet is decided once, by the failure policy if nobody does`() throws {
    let bytes = Make.ipv4(17)
    let layout = try PacketLayout(parsing: bytes.span.packetBytes)
    func make(_ ticket: UInt64) -> PendedPacket {
      PendedPacket(
        bytes: bytes, layout: layout, layer: .inboundIPPacketV4, metadata: PacketMetadata(),
        ticket: ticket, desk: bench.desk)
    }
    make(1).permit()
    make(2).block()
    do { _ = make(3) }
    #expect(bench.desk.decisions.withLock { $0 } == ["1 permit", "2 block", "3 failurePolicy"])
  }
}
