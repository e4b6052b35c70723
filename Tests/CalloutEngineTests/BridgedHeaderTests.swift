// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct BridgedHeaderTests {
  typealias Change = (inout FrameEdit) throws(FrameRewriteError) -> Void
  let bench = Bench()

  /// The header that the change gives the frame on a bridge: its 14 bytes, and its tag.
  func header(
    _ bytes: [UInt8], isTagBeside: Bool = false, _ change: @escaping Change
  ) throws -> (link: [UInt8], tag: UInt32?)? {
    var metadata = FrameMetadata()
    metadata.isTagBeside = isTagBeside
    var found: (link: [UInt8], tag: UInt32?)?
    var thrown: FrameRewriteError?
    try bench.withFrame(bytes, at: .ingressVSwitchEthernet, metadata: metadata) { frame, out in
      do throws(FrameRewriteError) {
        try out.rewrite(frame, change)
        guard let header = out.rewrittenFrame.bridgedHeader(of: frame) else { return }
        found = (header.link.indices.map { header.link[$0] }, header.tag)
      } catch {
        thrown = error
      }
    }
    if let thrown { throw thrown }
    return found
  }

  let vlan = VLANTag(.vlan, control: 0xa064)
  let service = VLANTag(.serviceVLAN, control: 7)
  let three = MACAddress(rawValue: 0x0200_0000_0003)

  @Test func `addresses and type are changed in place`() throws {
    let found = try header(MakeFrame.ethernet()) { edit throws(FrameRewriteError) in
      edit.setDestination(three)
      try edit.setEtherType(EtherType(rawValue: 0x88b5))
    }
    #expect(found?.tag == nil)
    #expect(found?.link == MakeFrame.bytes(three) + MakeFrame.bytes(MakeFrame.one) + [0x88, 0xb5])
  }

  @Test func `F78: a tag goes beside the frame, or in the place of the one there`() throws {
    let plain = MakeFrame.bytes(MakeFrame.two) + MakeFrame.bytes(MakeFrame.one) + [8, 0]
    let pushed = try header(MakeFrame.ethernet()) { edit throws(FrameRewriteError) in
      try edit.pushTag(service)
    }
    #expect(pushed?.link == plain && pushed?.tag == 0x88a8_0007)
    let changed = try header(MakeFrame.ethernet(tags: [vlan]), isTagBeside: true) {
      edit throws(FrameRewriteError) in try edit.setTagControl(5)
    }
    #expect(changed?.link == plain && changed?.tag == 0x8100_0005)
  }

  @Test func `F78: what a bridge's queue cannot make is refused, and changes nothing`() throws {
    let tagged = MakeFrame.ethernet(tags: [vlan])
    let refused: [([UInt8], Bool, Change)] = [
      (tagged, true, { edit throws(FrameRewriteError) in try edit.popTag() }),
      (tagged, true, { [service] edit throws(FrameRewriteError) in try edit.pushTag(service) }),
      (
        MakeFrame.ethernet(), false,
        { [service, vlan] edit throws(FrameRewriteError) in
          try edit.pushTag(vlan)
          try edit.pushTag(service)
        }
      ),
      // A tag in the bytes, whose length the kernel counts differently.
      (tagged, false, { [three] edit throws(FrameRewriteError) in edit.setDestination(three) }),
      (
        MakeFrame.ethernet(tags: [service, vlan]), true,
        { edit throws(FrameRewriteError) in try edit.setTagControl(1) }
      ),
    ]
    for (number, (bytes, isTagBeside, change)) in refused.enumerated() {
      #expect(throws: FrameRewriteError.notOnBridges, "\(number)") {
        try header(bytes, isTagBeside: isTagBeside, change)
      }
      #expect(!bench.out.rewrittenFrame.isRewritten)
    }
    #expect(bench.out.events.rewritesRefused == 5)
  }

  @Test func `a SNAP frame's type stands in its payload, which stays`() throws {
    let snap =
      MakeFrame.ethernet(type: 28, [0xaa, 0xaa, 3, 0, 0, 0, 8, 0] + Make.ipv4(17).prefix(20))
    #expect(throws: FrameRewriteError.notOnBridges) {
      try header(snap) { edit throws(FrameRewriteError) in try edit.setEtherType(.ipv6) }
    }
    let found = try header(snap) { edit throws(FrameRewriteError) in edit.setDestination(three) }
    #expect(found?.link.prefix(6) == MakeFrame.bytes(three)[...])
  }

  @Test func `the second change goes on from the first, and one that is refused leaves it`() throws
  {
    try bench.withFrame(at: .egressVSwitchEthernet) { [three, vlan] frame, out in
      try? out.rewrite(frame) { edit throws(FrameRewriteError) in try edit.pushTag(vlan) }
      try? out.rewrite(frame) { edit throws(FrameRewriteError) in try edit.pushTag(vlan) }
      try? out.rewrite(frame) { edit throws(FrameRewriteError) in edit.setDestination(three) }
      let header = out.rewrittenFrame.bridgedHeader(of: frame)
      #expect(header?.tag == 0x8100_a064 && header?.link[5] == 3)
    }
    #expect(bench.out.events.rewritesRefused == 1)
  }

  @Test(arguments: [Layer.ingressVSwitchEthernet, .egressVSwitchEthernet])
  func `bridged frames wait in the kernel, so they can be pended and sent round`(
    layer: Layer
  ) throws {
    for (script, expected) in [
      ({ _, out in out.pend(deadline: .nanoseconds(5)) }, "pend(deadline: 1000005)"),
      ({ _, out in out.repeat() }, "repeat"),
    ] as [(ScriptedFrames.Script, String)] {
      try bench.adoptFrames(
        [filter(.calloutTerminating("c"), layer: layer)], [("c", ScriptedFrames(single: script))])
      #expect(try bench.decideFrame(at: layer).text == expected)
    }
    #expect(bench.out.events.answersRefused == 0)
  }
}
