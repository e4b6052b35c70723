// SPDX-License-Identifier: Apache-2.0

@testable import NetfilterQueue

func host(_ value: UInt16) -> [UInt8] { [UInt8(value & 0xff), UInt8(value >> 8)] }
func host(_ value: UInt32) -> [UInt8] {
  host(UInt16(truncatingIfNeeded: value)) + host(UInt16(value >> 16))
}
func big(_ value: UInt16) -> [UInt8] { host(value).reversed() }
func big(_ value: UInt32) -> [UInt8] { host(value).reversed() }
func big(_ value: UInt64) -> [UInt8] {
  big(UInt32(value >> 32)) + big(UInt32(truncatingIfNeeded: value))
}

/// An attribute with its padding.
func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
  let length = 4 + value.count
  return host(UInt16(length)) + host(type) + value
    + [UInt8](repeating: 0, count: (4 - length % 4) % 4)
}

func message(_ type: UInt16, _ body: [UInt8]) -> [UInt8] {
  host(UInt32(16 + body.count)) + host(type) + host(UInt16(0)) + host(UInt32(0)) + host(UInt32(0))
    + body
}

/// A packet as the kernel tells of it, every attribute included.
enum Sample {
  static let payload = (0..<41).map { UInt8($0 + 100) }
  static let attributes: [[UInt8]] = [
    attribute(1, big(UInt32(0x0102_0304)) + big(UInt16(0x86dd)) + [4]),
    attribute(3, big(UInt32(0xdead_beef))),
    attribute(4, big(UInt64(1_700_000_000)) + big(UInt64(123_456))),
    attribute(5, big(UInt32(11))), attribute(6, big(UInt32(12))),
    attribute(7, big(UInt32(13))), attribute(8, big(UInt32(14))),
    attribute(9, big(UInt16(6)) + [0, 0] + [1, 2, 3, 4, 5, 6, 0, 0]),
    attribute(
      11 | 0x8000,
      attribute(1 | 0x8000, [9, 9, 9, 9]) + attribute(8, big(UInt32(0x77)))
        + attribute(12, big(UInt32(0x88)))),
    attribute(12, big(UInt32(2))), attribute(13, big(UInt32(1500))),
    attribute(14, big(UInt32(3))), attribute(15, [0, 1, 2]), attribute(16, big(UInt32(1000))),
    attribute(17, big(UInt32(1001))), attribute(18, [0, 1, 2]),
    attribute(19 | 0x8000, attribute(1, big(UInt16(0x8100))) + attribute(2, big(UInt16(0xa064)))),
    attribute(20, (0..<18).map { UInt8($0) }), attribute(21, big(UInt32(6))),
    attribute(99, [1]), attribute(10, payload),
  ]
  static let packet = message(0x0300, [10, 0] + big(UInt16(31000)) + attributes.joined())
}

extension Array where Element == UInt8 {
  /// Every message, with the bytes of each payload.
  func messages() -> [(message: QueueMessage, payload: [UInt8])] {
    var all: [(QueueMessage, [UInt8])] = []
    let bytes = span.bytes
    var offset = 0
    while let message = QueueMessage.next(in: bytes, at: &offset) {
      var payload: [UInt8] = []
      if case .packet(let indication) = message {
        let end = indication.payloadOffset + indication.payloadLength
        let linkEnd = indication.linkHeaderOffset + indication.linkHeaderLength
        precondition(indication.payloadOffset >= 0 && end <= count && linkEnd <= count)
        payload = Array(self[indication.payloadOffset..<end])
      }
      all.append((message, payload))
      precondition(offset <= count)
    }
    return all
  }
}
