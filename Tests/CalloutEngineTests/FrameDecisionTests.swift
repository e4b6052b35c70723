// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct FrameDecisionTests {
  let bench = Bench()

  func answer(_ script: @escaping ScriptedFrames.Script) throws -> String {
    try bench.adoptFrames(
      [filter(.calloutTerminating("c"), layer: .inboundMACFrameEthernet)],
      [("c", ScriptedFrames(single: script))])
    return try bench.decideFrame().text
  }

  @Test func `frames are permitted, blocked, absorbed and held`() throws {
    #expect(try answer { _, out in out.permit() } == "permit")
    #expect(try answer { _, out in out.block() } == "block")
    #expect(try answer { _, out in out.absorb() } == "absorb")
    #expect(try answer { _, out in out.continue() } == "block")
    #expect(
      try answer { _, out in out.hold(for: .nanoseconds(7), thenPermit: true) }
        == "hold(until: 1000007, permits: true)")
  }

  @Test func `what a diverted frame cannot do leaves the answer as it was`() throws {
    #expect(
      try answer { _, out in
        out.permit()
        out.repeat()
        out.pend()
      } == "permit")
    #expect(bench.out.events.answersRefused == 2)
    var thrown: RequeueError?
    _ = try answer { _, out in
      do throws(RequeueError) { try out.requeue(to: 31001) } catch { thrown = error }
    }
    #expect(thrown == .notAtLayer)
    // Packets can, afterwards as before.
    try bench.adopt([filter(.calloutTerminating("c"))], [("c", { _, out in out.repeat() })])
    #expect(try bench.decide().text == "repeat")
  }

  @Test func `sublayers combine as they do for packets`() throws {
    let bands = [Sublayer(name: "high", weight: 2), Sublayer(name: "low", weight: 1)]
    try bench.adoptFrames(
      [
        filter(.calloutUnknown("c"), sublayer: "high", layer: .outboundMACFrameNative),
        filter(.block, sublayer: "low", layer: .outboundMACFrameNative),
      ], sublayers: bands, [("c", ScriptedFrames(single: { _, out in out.permit() }))])
    let decision = try bench.decideFrame(at: .outboundMACFrameNative)
    #expect(decision.text == "block" && bench.hits == [1, 1])
  }

  @Test func `a callout of packets says nothing about frames`() throws {
    try bench.adopt(
      [filter(.calloutTerminating("c"), layer: .inboundMACFrameEthernet)],
      [("c", { _, out in out.permit() })])
    #expect(try bench.decideFrame().text == "block")
  }

  @Test func `frames are tagged, and tags found and removed`() throws {
    let tag = bench.tag()
    var (found, bears, handle): (UInt64?, Bool, UInt32) = (nil, true, 0)
    try bench.withFrame { _, out in
      try? out.associate(0x1234_5678_9abc_def0, with: tag)
      found = try? out.retrieve(tag)
      handle = out.handle
      try? out.remove(tag)
      bears = out.bears(tag)
    }
    #expect(found == 0x1234_5678_9abc_def0 && handle != 0 && !bears)
    let events = bench.events()
    #expect(events.last?.kind == .contextRemoved && events.last?.layer == 56)
    #expect(events.last?.associatedAt == 56)
  }

  @Test func `a frame's header is rewritten, the last call on top of the first`() throws {
    var refused: FrameRewriteError?
    try bench.withFrame { frame, out in
      try? out.rewrite(frame) { edit throws(FrameRewriteError) in
        try edit.pushTag(VLANTag(.vlan, control: 7))
      }
      do throws(FrameRewriteError) {
        try out.rewrite(frame) { edit throws(FrameRewriteError) in
          edit.setDestination(MakeFrame.one)
          try edit.setSource(MACAddress(rawValue: 1 << 40))
        }
      } catch { refused = error }
      try? out.rewrite(frame) { edit throws(FrameRewriteError) in
        try edit.setSource(MakeFrame.two)
      }
    }
    #expect(refused == .groupSource(MACAddress(rawValue: 1 << 40)))
    #expect(bench.out.events.rewritesRefused == 1)
    let rewritten = bench.out.rewrittenFrame
    #expect(rewritten.isRewritten && rewritten.shift == 4 && rewritten.replacedLength == 14)
    #expect(
      rewritten.contents(of: MakeFrame.ethernet())
        == MakeFrame.ethernet(from: MakeFrame.two, tags: [VLANTag(.vlan, control: 7)]))
  }

  @Test func `eight tags can be put on and taken off again`() throws {
    try bench.withFrame { frame, out in
      for number in 0..<8 {
        try? out.rewrite(frame) { edit throws(FrameRewriteError) in
          try edit.pushTag(VLANTag(.vlan, control: UInt16(number)))
        }
      }
      for _ in 0..<8 {
        try? out.rewrite(frame) { edit throws(FrameRewriteError) in try edit.popTag() }
      }
    }
    let rewritten = bench.out.rewrittenFrame
    #expect(rewritten.contents(of: MakeFrame.ethernet()) == MakeFrame.ethernet())
    #expect(bench.out.events.rewritesRefused == 0)
  }

  @Test func `a clone has the bytes, and no context until it is given one`() throws {
    let tag = bench.tag()
    var (bytes, before, after): ([UInt8], UInt32, UInt64?) = ([], 1, nil)
    try bench.withFrame { frame, out in
      try? out.associate(5, with: tag)
      guard var clone = try? out.clone(frame) else { return }
      (bytes, before) = (clone.bytes, clone.handle)
      try? out.move(tag, to: &clone)
      after = try? out.retrieve(tag, from: &clone)
    }
    #expect(bytes == MakeFrame.ethernet() && before == 0 && after == 5)
    #expect(bench.desk.freed.withLock { $0.count } == 1)
    #expect(bench.events().map(\.kind).contains(.clonedViaAPI))
  }

  @Test func `a clone of a frame without a MAC header is read as one`() throws {
    var layout: FrameLayout?
    var metadata = FrameMetadata()
    metadata.hardwareType = .none
    try bench.withFrame(
      Make.ipv4(17), at: .inboundMACFrameNative, isRawIP: true, metadata: metadata
    ) { frame, out in
      guard let clone = try? out.clone(frame) else { return }
      layout = clone.layout
    }
    #expect(layout?.format == .rawIP && layout?.etherType == .ipv4)
  }

  @Test func `a clone that is taken keeps its contexts`() throws {
    var taken: [UInt8] = []
    try bench.withFrame { frame, out in
      guard let clone = try? out.clone(frame) else { return }
      taken = clone.take().bytes
    }
    #expect(taken == MakeFrame.ethernet())
    #expect(bench.desk.freed.withLock { $0.isEmpty })
  }

  @Test func `F39: who refers to a frame to modify it has the last word`() throws {
    let bands = [Sublayer(name: "high", weight: 2), Sublayer(name: "low", weight: 1)]
    for (modifies, expected) in [(true, "permit"), (false, "block")] {
      var (kept, right): ([UInt8], Bool?) = ([], nil)
      try bench.adoptFrames(
        [
          filter(.calloutTerminating("c"), sublayer: "high", layer: .inboundMACFrameEthernet),
          filter(
            .calloutInspection("look"), sublayer: "low", weight: .explicit(9),
            layer: .inboundMACFrameEthernet),
          filter(.block, sublayer: "low", weight: .explicit(1), layer: .inboundMACFrameEthernet),
        ], sublayers: bands,
        [
          (
            "c",
            ScriptedFrames(single: { frame, out in
              guard let held = try? out.reference(frame, intendsToModify: modifies) else { return }
              kept = held.bytes
              out.permit()
            })
          ),
          ("look", ScriptedFrames(single: { _, out in right = out.canWrite })),
        ])
      #expect(try bench.decideFrame().text == expected)
      #expect(kept == MakeFrame.ethernet() && right == !modifies)
    }
  }
}
