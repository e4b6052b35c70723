// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// Netfilter's subsystems, by their numbers.
enum Netfilter {
  /// `NFNL_SUBSYS_CTNETLINK`.
  static var conntrack: UInt16 { 1 }
  /// `NFNL_SUBSYS_NFTABLES`.
  static var tables: UInt16 { 10 }
}

/// One message to netfilter, as it is put together.
struct NetfilterRequest {
  /// `NLM_F_REQUEST | NLM_F_ACK`.
  static var acknowledged: UInt16 { 0x5 }
  /// `NLM_F_REQUEST`.
  static var plain: UInt16 { 0x1 }
  /// `NLM_F_REQUEST | NLM_F_DUMP`.
  static var dump: UInt16 { 0x301 }
  /// `NLM_F_CREATE`.
  static var create: UInt16 { 0x400 }

  private var message: [UInt8]

  /// A message without attributes; `resource` is in host order.
  init(
    _ type: UInt16, flags: UInt16, sequence: UInt32 = 1, family: UInt8, resource: UInt16 = 0
  ) {
    message = [0, 0, 0, 0]
    append(type)
    append(flags)
    append(sequence)
    append(UInt32(0))
    message += [family, 0, UInt8(resource >> 8), UInt8(resource & 0xff)]  // struct nfgenmsg
  }

  /// The whole message with its length.
  var bytes: [UInt8] {
    var bytes = message
    let length = UInt32(bytes.count)
    for index in 0..<4 { bytes[index] = Self.native(length)[index] }
    return bytes
  }

  /// Adds an attribute.
  mutating func add(_ type: UInt16, _ value: [UInt8]) {
    append(UInt16(4 + value.count))
    append(type)
    message += value
    while message.count % 4 != 0 { message.append(0) }
  }

  /// Adds a number in network order.
  mutating func add(_ type: UInt16, _ value: UInt32) { add(type, Self.big(value)) }

  /// Adds a string with its terminator.
  mutating func add(_ type: UInt16, _ value: String) { add(type, Array(value.utf8) + [0]) }

  /// Adds an attribute that holds others.
  mutating func addNested(_ type: UInt16, _ body: (inout NetfilterRequest) -> Void) {
    let start = message.count
    append(UInt16(0))
    append(type | 0x8000)  // NLA_F_NESTED
    body(&self)
    let length = Self.native(UInt16(truncatingIfNeeded: message.count - start))
    message[start] = length[0]
    message[start + 1] = length[1]
  }

  /// Adds one direction of a connection.
  mutating func add(_ type: UInt16, _ tuple: ConntrackTuple) {
    addNested(type) { request in
      request.addNested(1) { addresses in  // CTA_TUPLE_IP
        let isIPv6 = tuple.source.version == .v6
        addresses.add(isIPv6 ? 3 : 1, Self.bytes(tuple.source))
        addresses.add(isIPv6 ? 4 : 2, Self.bytes(tuple.destination))
      }
      request.addNested(2) { transport in  // CTA_TUPLE_PROTO
        transport.add(1, [tuple.transportProtocol.rawValue])
        switch tuple.transportProtocol {
        case .icmp, .icmpv6:
          let first: UInt16 = tuple.transportProtocol == .icmp ? 4 : 7
          transport.add(first, Self.big(tuple.sourcePort))
          transport.add(first + 1, [tuple.icmpType])
          transport.add(first + 2, [tuple.icmpCode])
        default:
          transport.add(2, Self.big(tuple.sourcePort))
          transport.add(3, Self.big(tuple.destinationPort))
        }
      }
    }
  }

  private mutating func append<Number: FixedWidthInteger>(_ value: Number) {
    message += Self.native(value)
  }

  /// The bytes of a number as the machine has them: of Linux's, all that Swift runs on are little
  /// endian.
  private static func native<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    big(value.byteSwapped)
  }

  /// The bytes of a number in network order.
  private static func big<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    (0..<Number.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: value >> Number($0 * 8)) }
  }

  private static func bytes(_ address: IPAddress) -> [UInt8] {
    address.version == .v6
      ? big(address.high) + big(address.low) : big(UInt32(truncatingIfNeeded: address.low))
  }
}
