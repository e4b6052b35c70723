// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

@testable import LinkLayer

/// rtnetlink's messages, as bytes.
struct LinkMessageTests {
  private static func words(_ value: Int, _ bytes: Int) -> [UInt8] {
    (0..<bytes).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }

  private static func attribute(_ type: Int, _ value: [UInt8]) -> [UInt8] {
    let padding = [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
    return words(value.count + 4, 2) + words(type, 2) + value + padding
  }

  private static func message(type: Int, _ body: [UInt8]) -> [UInt8] {
    words(body.count + 16, 4) + words(type, 2) + [0, 0] + words(1, 4) + words(0, 4) + body
  }

  private static func device(family: UInt8 = 0) -> [UInt8] {
    [family, 0] + words(1, 2) + words(7, 4) + words(0x11043, 4) + words(0, 4)
      + attribute(3, Array("eth0".utf8) + [0]) + attribute(4, words(1500, 4))
      + attribute(1, [2, 0, 0, 0, 1, 1]) + attribute(10, words(3, 4))
      + attribute(18, attribute(1, Array("veth".utf8)))
  }

  private static func read(_ bytes: [UInt8]) -> [LinkMessage] {
    var cursor = 0
    var found: [LinkMessage] = []
    while let message = LinkMessage.next(in: bytes.span.packetBytes, at: &cursor) {
      found.append(message)
    }
    return found
  }

  @Test func `a device with all that is read of it`() throws {
    let all = Self.read(Self.message(type: 16, Self.device()) + Self.message(type: 3, []))
    #expect(all.count == 2)
    guard case .device(let device) = all[0], case .done = all[1] else {
      Issue.record("read \(all)")
      return
    }
    #expect(device.index == 7 && device.name == "eth0" && device.mtu == 1500)
    #expect(device.address == MACAddress("02:00:00:00:01:01"))
    #expect(device.master == 3 && device.driver == "veth" && device.medium == .ethernet)
    #expect(device.isUp && device.isRunning)
  }

  @Test func `what a bridge says of its ports is not about devices`() {
    guard case .other = Self.read(Self.message(type: 17, Self.device(family: 7))).first else {
      Issue.record("taken for a removal")
      return
    }
  }

  private static func filter(name: String) -> [UInt8] {
    [0, 0, 0, 0] + words(7, 4) + words(0xb, 4) + words(0xffff_fff2, 4) + words(29 << 16 | 3, 4)
      + attribute(1, Array("bpf".utf8) + [0])
      + attribute(2, attribute(8, words(1, 4)) + attribute(7, Array(name.utf8) + [0]))
  }

  private static func discipline(handle: Int, block: Int) -> [UInt8] {
    [0, 0, 0, 0] + words(7, 4) + words(handle, 4) + words(0xffff_fff1, 4) + words(1, 4)
      + attribute(1, Array("clsact".utf8) + [0]) + attribute(13, words(block, 4))
  }

  @Test func `filters, and the disciplines under which there are some`() {
    let all = Self.read(
      Self.message(type: 44, Self.filter(name: "callout_gate:[12]"))
        + Self.message(type: 36, Self.discipline(handle: 0xffff_0000, block: 0))
        + Self.message(type: 36, Self.discipline(handle: 0xffff_0000, block: 5))
        + Self.message(type: 36, Self.discipline(handle: 0x8001_0000, block: 0)))
    guard all.count == 4, case .filter(let filter) = all[0],
      case .discipline(let own) = all[1], case .discipline(let shared) = all[2],
      case .other = all[3]
    else {
      Issue.record("read \(all)")
      return
    }
    #expect(filter.device == 7 && filter.priority == 29 && filter.handle == 0xb)
    #expect(filter.name == "callout_gate:[12]" && ClsactFilter(filter)?.helper == 5)
    #expect(own == FilterDiscipline(device: 7, kind: "clsact") && own.isClsact)
    #expect(shared.isShared)
  }

  @Test(arguments: ["callout_gateway:[1]", "cls_other:[3]", ""])
  func `a filter of another name is not ours`(_ name: String) {
    let message = Self.message(type: 44, Self.filter(name: name))
    guard case .filter(let filter) = Self.read(message).first else {
      Issue.record("no filter")
      return
    }
    #expect(ClsactFilter(filter) == nil)
  }

  @Test(
    arguments: [
      ([], 29), ([50], 29), ([29, 40], 28), ([10], 9), ([2, 9], 1), ([1, 5], 2), ([1, 2, 3], 4),
    ] as [([UInt32], UInt32)])
  func `our filter's priority is before all, where it can be`(_ taken: [UInt32], _ ours: UInt32) {
    #expect(ClsactFilter.priority(before: taken) == ours)
  }

  @Test func `filters and disciplines cut anywhere are read as far as they go, or not at all`() {
    for (type, body) in [
      (44, Self.filter(name: "callout_gate:[12]")),
      (36, Self.discipline(handle: 0xffff_0000, block: 1)),
    ] {
      for length in 0..<body.count {
        #expect(Self.read(Self.message(type: type, Array(body[..<length]))).count == 1)
      }
    }
  }

  @Test func `a message cut anywhere is read as far as it goes, or not at all`() {
    let whole = Self.message(type: 16, Self.device())
    for length in 0..<whole.count {
      #expect(Self.read(Array(whole.prefix(length))).isEmpty)
      var lying = Array(whole.prefix(length))
      if length >= 16 {
        lying.replaceSubrange(0..<4, with: Self.words(length, 4))
        #expect(Self.read(lying).count == 1)
      }
    }
  }
}
