// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct FrameBatchTests {
  let bench = Bench()
  static let layer = Layer.inboundMACFrameEthernet
  static let bands = [Sublayer(name: "high", weight: 2), Sublayer(name: "low", weight: 1)]

  /// Frames with the EtherTypes 0x88b5, 0x88b6, ...
  static func frames(_ count: Int) -> [[UInt8]] {
    (0..<count).map { MakeFrame.ethernet(type: 0x88b5 + UInt16($0), [1, 2, UInt8($0)]) }
  }

  static func isType(_ number: Int) -> Condition {
    Condition(.etherType, .equal(0x88b5 + UInt128(number)))
  }

  func adopt(
    _ form: FrameForm, allows: Bool, action: (String) -> FilterAction = { .calloutTerminating($0) },
    _ conditions: [Condition] = [], single: @escaping ScriptedFrames.Script = { _, _ in },
    chain: @escaping ScriptedFrames.ChainScript = { _, _ in }
  ) throws {
    try bench.adoptFrames(
      [filter(action("c"), conditions, layer: Self.layer)], allowsBatches: allows,
      [("c", ScriptedFrames(form, single: single, chain: chain))])
  }

  @Test func `F34: without the flag every frame is a call of its own`() throws {
    var calls = 0
    try adopt(
      .single, allows: false,
      single: { _, out in
        calls += 1
        out.permit()
      })
    #expect(
      try bench.decideBatch(Self.frames(5)).decisions == [
        "permit", "permit", "permit", "permit", "permit",
      ])
    #expect(calls == 5 && bench.hits == [5])
  }

  @Test(
    arguments: [(.single, false), (.single, true), (.chain, false), (.chain, true)]
      as [(FrameForm, Bool)])
  func `F35: chains need the flag and the chain form, both`(form: FrameForm, allows: Bool) throws {
    var (singles, chains): (Int, [Int]) = (0, [])
    try adopt(
      form, allows: allows,
      single: { _, out in
        singles += 1
        out.permit()
      },
      chain: { chain, out in
        chains.append(chain.count)
        out.permit()
      })
    _ = try bench.decideBatch(Self.frames(6))
    let isChained = form == .chain && allows
    #expect(singles == (isChained ? 0 : 6))
    #expect(chains == (isChained ? [6] : []))
  }

  @Test func `F36: in a chain clone and reference fail with invalidParameter`() throws {
    var thrown: [FrameRewriteError] = []
    let script: ScriptedFrames.ChainScript = { chain, out in
      let frame = chain.frame(at: 0)
      do throws(FrameRewriteError) { _ = try out.clone(frame) } catch { thrown.append(error) }
      do throws(FrameRewriteError) { _ = try out.reference(frame) } catch { thrown.append(error) }
      out.permit()
    }
    try adopt(.chain, allows: true, chain: script)
    _ = try bench.decideBatch(Self.frames(3))
    #expect(thrown == [.invalidParameter, .invalidParameter])
    #expect(!bench.events().map(\.kind).contains(.clonedViaAPI))
  }

  @Test func `F37: one answer decides the whole chain`() throws {
    try adopt(.chain, allows: true, chain: { _, out in out.absorb() })
    #expect(try bench.decideBatch(Self.frames(3)).decisions == ["absorb", "absorb", "absorb"])
  }

  @Test func `F37: a vector has an answer for each frame, and may clone`() throws {
    var bytes: [UInt8] = []
    try adopt(
      .vector, allows: false, action: { .calloutUnknown($0) },
      chain: { chain, out in
        out.permit()
        out.select(1)
        out.block()
        if let clone = try? out.clone(chain.frame(at: 1)) { bytes = clone.bytes }
        out.select(3)
        out.absorb()
      })
    let frames = Self.frames(4)
    #expect(try bench.decideBatch(frames).decisions == ["permit", "block", "permit", "absorb"])
    #expect(bytes == frames[1])
  }

  @Test func `a terminating vector blocks what it says nothing of`() throws {
    try adopt(
      .vector, allows: false,
      chain: { _, out in
        out.select(1)
        out.permit()
      })
    #expect(try bench.decideBatch(Self.frames(3)).decisions == ["block", "permit", "block"])
  }

  @Test func `a chain holds the frames that come to its filter, in their order`() throws {
    var types: [UInt16] = []
    try adopt(
      .chain, allows: true, [Self.isType(4), Self.isType(1), Self.isType(2)],
      chain: { chain, out in
        for index in 0..<chain.count {
          types.append(chain.frame(at: index).layout.etherType.rawValue)
        }
        out.block()
      })
    #expect(
      try bench.decideBatch(Self.frames(6)).decisions
        == ["permit", "block", "block", "permit", "block", "permit"])
    #expect(types == [0x88b6, 0x88b7, 0x88b9] && bench.hits == [3])
  }

  @Test func `a frame that has been decided in the sublayer is not in the chain`() throws {
    var count = 0
    try bench.adoptFrames(
      [
        filter(.permit, [Self.isType(0)], weight: .explicit(9), layer: Self.layer),
        filter(.calloutUnknown("c"), weight: .explicit(5), layer: Self.layer),
        filter(.block, weight: .explicit(1), layer: Self.layer),
      ], allowsBatches: true,
      [
        (
          "c",
          ScriptedFrames(
            .chain,
            chain: { chain, out in
              count = chain.count
              out.continue()
            })
        )
      ])
    #expect(try bench.decideBatch(Self.frames(3)).decisions == ["permit", "block", "block"])
    #expect(count == 2 && bench.hits == [1, 2, 2])
  }

  @Test func `who may only veto is a chain of its own, and no frame is asked twice`() throws {
    var chains: [(Int, Bool)] = []
    try bench.adoptFrames(
      [
        filter(.calloutUnknown("hard"), [Self.isType(1)], sublayer: "high", layer: Self.layer),
        filter(.calloutUnknown("c"), sublayer: "low", layer: Self.layer),
      ], sublayers: Self.bands, allowsBatches: true,
      [
        (
          "hard",
          ScriptedFrames(single: { _, out in
            out.permit()
            out.clearWriteRight()
          })
        ),
        (
          "c",
          ScriptedFrames(
            .chain,
            chain: { chain, out in
              chains.append((chain.count, out.canWrite))
              out.permit()
              out.clearWriteRight()
            })
        ),
      ])
    #expect(try bench.decideBatch(Self.frames(4)).decisions.allSatisfy { $0 == "permit" })
    #expect(chains.map(\.0) == [3, 1] && chains.map(\.1) == [true, false])
  }

  @Test(arguments: [FrameForm.chain, .vector])
  func `each frame of a chain is tagged and rewritten by itself`(form: FrameForm) throws {
    let tag = bench.tag()
    var found: [UInt64?] = []
    try adopt(
      form, allows: true,
      chain: { chain, out in
        for index in 0..<chain.count {
          out.select(index)
          try? out.associate(UInt64(index) + 100, with: tag)
          let frame = chain.frame(at: index)
          try? out.rewrite(frame) { edit throws(FrameRewriteError) in
            edit.setDestination(MACAddress(rawValue: UInt64(index)))
          }
          out.permit()
        }
        for index in (0..<chain.count).reversed() {
          out.select(index)
          found.append(try? out.retrieve(tag))
        }
      })
    let frames = Self.frames(3)
    let result = try bench.decideBatch(frames)
    #expect(found == [102, 101, 100])
    #expect(Set(result.packets.map(\.handle)).subtracting([0]).count == 3)
    #expect(result.packets.map(\.id) == [0, 1, 2])
    for (index, contents) in result.contents.enumerated() {
      #expect(contents == [0, 0, 0, 0, 0, UInt8(index)] + frames[index][6...])
    }
  }

  @Test func `what is not in the chain is not selected and is empty`() throws {
    var (selected, count): ([Bool], Int) = ([], 1)
    try adopt(
      .chain, allows: true,
      chain: { chain, out in
        selected = [out.select(-1), out.select(2), out.select(.max), out.select(1)]
        count = chain.frame(at: 2).bytes.byteCount + chain.frame(at: -1).bytes.byteCount
        out.permit()
      })
    _ = try bench.decideBatch(Self.frames(2))
    #expect(selected == [false, false, false, true] && count == 0)
    var outside = true
    try bench.withFrame { _, out in outside = out.select(0) }
    #expect(!outside)
  }

  @Test func `a batch takes no more than it has room for`() throws {
    try adopt(.chain, allows: true, chain: { _, out in out.permit() })
    #expect(try bench.decideBatch(Self.frames(5), capacity: 3).decisions.count == 3)
    #expect(try bench.decideBatch([]).decisions.isEmpty)
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `a batch is decided as its frames would be one by one`(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    for _ in 0..<150 {
      var filters: [Filter] = []
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        let actions: [FilterAction] = [
          .permit, .block, .calloutTerminating("single"), .calloutUnknown("chain"),
          .calloutUnknown("vector"), .calloutInspection("chain"),
        ]
        let conditions = (0..<Int.random(in: 0...2, using: &random)).map { _ in
          Self.isType(Int.random(in: 0...5, using: &random))
        }
        filters.append(
          filter(
            actions.randomElement(using: &random) ?? .permit, conditions,
            sublayer: Bool.random(using: &random) ? "high" : "low", layer: Self.layer))
      }
      let answer =
        ["permit", "block", "absorb", "continue", "permit!", "block!"].randomElement(
          using: &random) ?? ""
      let one: ScriptedFrames.Script = { _, out in ArbitrationTests.say(answer, &out) }
      let all: ScriptedFrames.ChainScript = { chain, out in
        for index in 0..<chain.count {
          out.select(index)
          ArbitrationTests.say(answer, &out)
        }
      }
      let scripts = [
        ("single", ScriptedFrames(.single, single: one, chain: all)),
        ("chain", ScriptedFrames(.chain, single: one, chain: all)),
        ("vector", ScriptedFrames(.vector, single: one, chain: all)),
      ]
      let frames = Self.frames(6)
      var found: [[String]] = []
      var hits: [[UInt64]] = []
      for fewFilters in [.max, 0] {
        try bench.adoptFrames(
          filters, sublayers: Self.bands, allowsBatches: true, fewFilters: fewFilters, scripts)
        found.append(try bench.decideBatch(frames).decisions)
        hits.append(bench.hits)
        bench.hits = bench.hits.map { _ in 0 }
        found.append(try frames.map { try bench.decideFrame($0).text })
        hits.append(bench.hits)
      }
      #expect(Set(found).count == 1 && Set(hits).count == 1, "\(filters)")
    }
  }
}
