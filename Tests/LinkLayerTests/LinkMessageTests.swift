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
