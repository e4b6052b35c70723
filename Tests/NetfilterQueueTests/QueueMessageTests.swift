// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

@testable import NetfilterQueue

/// SplitMix64: the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}

@Suite struct QueueMessageTests {
  @Test func `every attribute of a packet is read`() {
    let all = Sample.packet.messages()
    guard all.count == 1, case .packet(let it) = all[0].message else {
      Issue.record("\(all)")
      return
    }
    #expect(all[0].payload == Sample.payload)
    let metadata = it.metadata
    #expect(it.id == 0x0102_0304 && it.etherType == 0x86dd && it.hook == 4 && it.family == 10)
    #expect(metadata.queue == 31000 && metadata.mark == 0xdead_beef)
    #expect(metadata.timestamp == 1_700_000_000_123_456)
    #expect(metadata.inputDevice == 11 && metadata.outputDevice == 12)
    #expect(metadata.physicalInputDevice == 13 && metadata.physicalOutputDevice == 14)
    #expect(metadata.hardwareAddress == 0x0605_0403_0201 && metadata.hardwareAddressLength == 6)
    #expect(metadata.conntrackMark == 0x77 && metadata.conntrackID == 0x88)
    #expect(metadata.conntrackState == 2 && metadata.priority == 6)
    #expect(metadata.originalLength == 1500 && it.isTruncated)
    #expect(metadata.userID == 1000 && metadata.groupID == 1001)
    #expect(metadata.isChecksumPartial && metadata.isSegmentationPending)
    #expect(!metadata.isChecksumUnverified)
    #expect(metadata.vlanProtocol == 0x8100 && metadata.vlanTCI == 0xa064)
    #expect(it.linkHeaderLength == 18)
  }

  @Test func `a packet with its header only has an empty payload and nothing set`() {
    let all = message(0x0300, [2, 0, 0, 1] + Sample.attributes[0]).messages()
    guard case .packet(let it)? = all.first?.message else {
      Issue.record("\(all)")
      return
    }
    #expect(it.payloadLength == 0 && it.metadata.originalLength == 0 && !it.isTruncated)
    #expect(it.metadata.present == [])
  }

  @Test func `the length of a packet that came whole is its payload's`() {
    let all = message(0x0300, [2, 0, 0, 1] + Sample.attributes[0] + attribute(10, Sample.payload))
      .messages()
    guard case .packet(let it)? = all.first?.message else {
      Issue.record("\(all)")
      return
    }
    #expect(it.metadata.originalLength == 41 && !it.isTruncated)
  }

  @Test func `a datagram cut anywhere is malformed, and names the packet as soon as it can`() {
    let whole = Sample.packet
    #expect(Array(whole[..<0]).messages().isEmpty)
    for length in 1..<whole.count - 3 {
      let all = Array(whole[..<length]).messages()
      guard all.count == 1, case .malformed(let id) = all[0].message else {
        Issue.record("cut at \(length): \(all)")
        return
      }
      // Netlink header, nfgenmsg, and the first attribute's header and seven bytes.
      if id != (length >= 16 + 4 + 11 ? 0x0102_0304 : nil) {
        Issue.record("cut at \(length): \(String(describing: id))")
      }
    }
  }

  @Test func `a message whose own length is cut is never read past its end`() {
    for length in 16..<Sample.packet.count {
      var bytes = Sample.packet
      bytes.replaceSubrange(0..<4, with: host(UInt32(length)))
      for (message, payload) in bytes.messages() {
        if case .packet = message, payload != Sample.payload, !payload.isEmpty {
          Issue.record("cut at \(length) gave \(payload)")
        }
      }
    }
  }

  @Test func `random bytes in a packet never trap and never give bytes outside the datagram`() {
    var random = SeededGenerator(state: 7)
    var kinds: Set<Int> = []
    for _ in 0..<100_000 {
      var bytes = Sample.packet
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      if Bool.random(using: &random) {
        bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
      }
      for (message, _) in bytes.messages() {
        switch message {
        case .packet: kinds.insert(0)
        case .refused: kinds.insert(1)
        case .other: kinds.insert(2)
        case .malformed: kinds.insert(3)
        }
      }
    }
    #expect(kinds.isSuperset(of: [0, 2, 3]))
  }

  @Test(arguments: [0x0301, 0x0303] as [UInt16])
  func `a refused verdict tells errno and packet`(type: UInt16) {
    let verdict = attribute(2, big(UInt32(1)) + big(UInt32(77)))
    let bytes = message(2, host(UInt32(bitPattern: -2)) + message(type, [0, 0, 0, 5] + verdict))
    guard case .refused(let errno, let id)? = bytes.messages().first?.message else {
      Issue.record("not a refusal")
      return
    }
    #expect(errno == 2 && id == 77)
  }

  @Test func `other refusals have no packet, and an acknowledgement is none`() {
    let request = message(0x0302, [0, 0, 0, 5] + attribute(2, big(UInt32(1)) + big(UInt32(77))))
    guard
      case .refused(1, nil)? = message(2, host(UInt32(bitPattern: -1)) + request).messages()
        .first?.message,
      case .refused(12, nil)? = message(2, host(UInt32(bitPattern: -12))).messages().first?.message,
      case .other(type: 2)? = message(2, host(UInt32(0)) + request).messages().first?.message,
      case .malformed(nil)? = message(2, [1, 2]).messages().first?.message
    else {
      Issue.record("wrong")
      return
    }
  }

  @Test func `several messages in one datagram are read one by one, padding between them`() {
    let odd = message(
      0x0300, [2, 0, 0, 1] + Sample.attributes[0] + [12, 0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    var unpadded = message(99, [1, 2, 3]) + [0]
    unpadded += odd + Sample.packet
    let all = unpadded.messages()
    guard all.count == 3, case .other(type: 99) = all[0].message, case .packet = all[1].message,
      case .packet = all[2].message
    else {
      Issue.record("\(all)")
      return
    }
    #expect(all[1].payload == [1, 2, 3, 4, 5, 6, 7, 8] && all[2].payload == Sample.payload)
  }
}
