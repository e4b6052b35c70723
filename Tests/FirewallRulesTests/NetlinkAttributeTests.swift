// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FirewallRules

@Suite struct NetlinkAttributeTests {
  @Test func `attributes are read with their padding`() throws {
    let bytes: [UInt8] = [5, 0, 1, 0, 0xaa, 0, 0, 0, 8, 0, 2, 0x80, 1, 2, 3, 4]
    let attributes = try #require(NetlinkAttributes(bytes[...]))
    #expect(attributes[1].map(Array.init) == [0xaa])
    #expect(attributes.big32(2) == 0x0102_0304)
    #expect(attributes.big32(1) == nil)
    #expect(attributes[3] == nil)
  }

  @Test(
    arguments: [
      [3, 0, 1, 0], [0, 0, 0, 0], [9, 0, 1, 0, 1, 2, 3, 4], [255, 255, 1, 0],
    ] as [[UInt8]])
  func `a length out of bounds is refused`(bytes: [UInt8]) {
    #expect(NetlinkAttributes(bytes[...]) == nil)
  }

  @Test func `every cut of a rule message is read or refused, never a trap`() throws {
    var transaction = NFTransaction()
    transaction.addRule(
      RuleSet.probe.planned[0].steps(.nftCompat), to: "rules", in: "callout")
    let messages = try #require(NetlinkMessage.all(in: transaction.bytes[...]))
    try #require(messages.count == 3)
    let payload = messages[1].payload
    let rule = try NFRule(payload)
    #expect(
      rule.expressions.map(\.name) == [
        "meta", "cmp", "meta", "bitwise", "cmp", "counter", "target",
      ])
    #expect(rule.expressions.last?.queue == QueueNaming(queues: 31000...31001, bypass: true))
    for length in 0..<payload.count {
      _ = (try? NFRule(payload.prefix(length))).map(MarkWalk.uses)
    }
    for index in payload.indices {
      for value in [0, 1, 0x7f, 0xff] as [UInt8] {
        var changed = payload
        changed[index] = value
        _ = (try? NFRule(changed)).map { rule in
          (MarkWalk.uses(in: rule), rule.expressions.map(\.queue))
        }
      }
    }
  }

  @Test func `every cut of a datagram is read or refused, never a trap`() {
    let bytes = NFTransaction.dumpRequest(.init(rawValue: 7))
    for length in 0..<bytes.count { _ = NetlinkMessage.all(in: bytes[..<length]) }
    #expect(NetlinkMessage.all(in: bytes[...])?.count == 1)
    #expect(NetlinkMessage.all(in: bytes.dropLast()[...]) == nil)
  }

  @Test func `our own rule is read back as it was made`() throws {
    for backend in [RuleBackend.nft, .nftCompat] {
      for planned in RuleSet.probe.planned {
        var transaction = NFTransaction()
        transaction.addRule(planned.steps(backend), to: "output", in: "callout")
        let messages = try #require(NetlinkMessage.all(in: transaction.bytes[...]))
        let rule = try NFRule(messages[1].payload)
        let read = InstalledRule(rule, hook: .output, priority: -150)
        #expect(read?.planned == planned)
      }
    }
  }
}
