// SPDX-License-Identifier: Apache-2.0

/// One netlink message: a header and what follows it.
struct NetlinkMessage {
  var type: UInt16
  var flags: UInt16
  var sequence: UInt32
  /// What follows the header, without padding.
  var payload: ArraySlice<UInt8>

  /// Splits a datagram into its messages; nil if any length in it is out of bounds.
  static func all(in datagram: ArraySlice<UInt8>) -> [NetlinkMessage]? {
    var messages: [NetlinkMessage] = []
    var rest = datagram
    while !rest.isEmpty {
      guard let length = rest.native32(at: 0), let type = rest.native16(at: 4),
        let flags = rest.native16(at: 6), let sequence = rest.native32(at: 8),
        length >= 16, length <= rest.count
      else { return nil }
      let payload = rest.dropFirst(16).prefix(Int(length) - 16)
      messages.append(
        NetlinkMessage(type: type, flags: flags, sequence: sequence, payload: payload))
      rest = rest.dropFirst((Int(length) + 3) & ~3)
    }
    return messages
  }
}

/// The attributes of one level of a netlink message.
///
/// We walk them ourselves: libnftnl refuses a whole rule for one expression newer than its build,
/// and a scan must not be blind to such a rule.
struct NetlinkAttributes {
  /// In the order received; the type is without the nested and byte order flags.
  var list: [(type: UInt16, payload: ArraySlice<UInt8>)]

  /// Splits `bytes`; nil if any length in them is out of bounds.
  init?(_ bytes: ArraySlice<UInt8>) {
    list = []
    var rest = bytes
    // Fewer than four bytes at the end are padding.
    while rest.count >= 4 {
      guard let length = rest.native16(at: 0), let type = rest.native16(at: 2),
        length >= 4, Int(length) <= rest.count
      else { return nil }
      list.append((type & 0x3fff, rest.dropFirst(4).prefix(Int(length) - 4)))
      rest = rest.dropFirst((Int(length) + 3) & ~3)
    }
  }

  /// The payload of the first attribute of a type.
  subscript(type: UInt32) -> ArraySlice<UInt8>? {
    list.first { $0.type == type }?.payload
  }

  /// The attributes nested in the first attribute of a type.
  func nested(_ type: UInt32) -> NetlinkAttributes? {
    self[type].flatMap(NetlinkAttributes.init)
  }

  /// A number in network order, as nf_tables sends all of its own.
  func big32(_ type: UInt32) -> UInt32? { self[type]?.big32(at: 0) }
  /// A number in network order.
  func big64(_ type: UInt32) -> UInt64? {
    guard let high = self[type]?.big32(at: 0), let low = self[type]?.big32(at: 4) else {
      return nil
    }
    return UInt64(high) << 32 | UInt64(low)
  }
  /// A number in network order.
  func big16(_ type: UInt32) -> UInt16? {
    self[type]?.native16(at: 0).map(UInt16.init(bigEndian:))
  }

  /// A string up to its terminator.
  func string(_ type: UInt32) -> String? {
    self[type].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}

extension ArraySlice<UInt8> {
  /// The byte at `offset` from the beginning of the slice.
  func byte(at offset: Int) -> UInt8? {
    guard offset >= 0, offset < count else { return nil }
    return self[startIndex + offset]
  }

  /// Two bytes in host order.
  func native16(at offset: Int) -> UInt16? {
    guard let first = byte(at: offset), let second = byte(at: offset + 1) else { return nil }
    return UInt16(littleEndian: UInt16(second) << 8 | UInt16(first))
  }

  /// Four bytes in host order.
  func native32(at offset: Int) -> UInt32? {
    big32(at: offset).map(UInt32.init(bigEndian:))
  }

  /// Four bytes in network order.
  func big32(at offset: Int) -> UInt32? {
    guard offset >= 0, count >= 4, offset <= count - 4 else { return nil }
    return self[(startIndex + offset)..<(startIndex + offset + 4)].reduce(0) {
      $0 << 8 | UInt32($1)
    }
  }
}
