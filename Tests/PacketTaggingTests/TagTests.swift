// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import PacketTagging

@Suite struct TagTests {
  @Test func `F1: 10,000 tags made by eight tasks are all distinct and none is 0`() async {
    let issuer = TagIssuer()
    let all = await withTaskGroup(of: [UInt64].self) { group in
      for _ in 0..<8 {
        group.addTask { (0..<1250).compactMap { _ in issuer.makeTag()?.rawValue } }
      }
      return await group.reduce(into: [UInt64]()) { $0 += $1 }
    }
    #expect(all.count == 10_000)
    #expect(Set(all).count == 10_000)
    #expect(!all.contains(0))
  }

  @Test func `a tag knows its disposition and its number`() {
    let issuer = TagIssuer()
    for (number, disposition) in CopyDisposition.allCases.enumerated() {
      let tag = issuer.makeTag(onCopy: disposition)
      #expect(tag?.disposition == disposition)
      #expect(tag?.number == number + 1)
    }
  }

  @Test func `F2: a tag that was never issued is refused and leaves no entry`() {
    let rig = Rig()
    let issued = rig.tag()
    let foreign = TagIssuer().makeTag() ?? issued
    let forged = [
      ContextTag(rawValue: 0), ContextTag(rawValue: .max), foreign,
      ContextTag(rawValue: issued.rawValue + 4), ContextTag(rawValue: issued.rawValue | 3),
      ContextTag(rawValue: issued.rawValue ^ 1 << 40),
    ]
    for tag in forged {
      let packet = rig.packet()
      #expect(rig.put(1, tag, packet) == .unknownTag)
      #expect(packet.handle == 0)
      #expect(rig.get(tag, packet) == nil)
    }
    #expect(rig.counters.associated == 0 && rig.counters.live == 0)
    #expect(rig.table.entries.count == 1)
    #expect(rig.events().isEmpty)
  }

  @Test func `the counts of each tag are its own`() {
    let rig = Rig()
    let tags = (0..<3).map { _ in rig.tag() }
    for (number, tag) in tags.enumerated() {
      for _ in 0...number { rig.finish(rig.tagged([(7, tag)]), .delivered) }
      _ = rig.tagged([(7, tag)])
    }
    for (number, tag) in tags.enumerated() {
      #expect(rig.table.tagCounts(tag.number).associated == UInt64(number) + 2)
      #expect(rig.table.tagCounts(tag.number).ended == UInt64(number) + 1)
    }
    #expect(rig.table.tagCounts(0).associated == 0 && rig.table.tagCounts(5000).associated == 0)
  }
}

@Suite struct MarkFieldTests {
  static let fields: [MarkField] = (8...24).flatMap { width in
    (0...(32 - width)).compactMap { MarkField(mask: ((1 << UInt32(width)) - 1) << UInt32($0)) }
  }

  @Test func `every run of 8 to 24 bits makes a field`() {
    #expect(Self.fields.count == (8...24).map { 33 - $0 }.reduce(0, +))
  }

  @Test(arguments: [false, true])
  func `a number comes back from every field, and bits of others stay`(epoch: Bool) {
    for field in Self.fields {
      let highest = UInt32(1) << UInt32(field.handleBits) - 1
      for number in [1, 2, highest / 2, highest - 1, highest] {
        for old in [0, UInt32.max, 0xa5a5_5a5a, 0x5a5a_a5a5] {
          let mark = field.mark(old, bearing: number, epoch: epoch)
          #expect(mark & ~field.mask == old & ~field.mask)
          #expect(mark & field.injectedBit == 0)
          #expect(field.number(in: mark, epoch: epoch) == number)
          #expect(field.number(in: mark, epoch: !epoch) == 0)
          let injected = field.mark(old, bearing: number, epoch: epoch, injected: true)
          #expect(injected == mark | field.injectedBit)
        }
      }
      #expect(field.mark(.max, bearing: 0, epoch: epoch) == ~field.mask)
      #expect(field.number(in: ~field.mask, epoch: epoch) == 0)
      #expect(field.injectedBit & field.epochBit == 0)
      #expect((field.injectedBit | field.epochBit) & ~field.mask == 0)
      #expect(field.injectedBit > field.epochBit)
    }
  }

  @Test(
    arguments: [
      0, 0x7f, 0xff00_00ff, 0x01ff_ffff, 0xffff_ffff, 0x0ff0_0ff0, 0x0000_0101, 0x8000_0000,
    ] as [UInt32])
  func `a mask that is not one run of 8 to 24 bits is refused`(mask: UInt32) {
    #expect(MarkField(mask: mask) == nil)
  }
}
