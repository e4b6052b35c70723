// SPDX-License-Identifier: Apache-2.0

/// The two ends of the first link, in one family.
struct PacketEnds {
  var isIPv6: Bool
  private func address(_ number: UInt8) -> [UInt8] {
    isIPv6
      ? [0xfd, 0x09, 0, 1] + [UInt8](repeating: 0, count: 11) + [number] : [10, 9, 1, number]
  }

  /// This host's address, or that of the peer.
  var host: [UInt8] { address(1) }
  var peer: [UInt8] { address(2) }

  /// A whole datagram for port 7 whose payload is a number, as `Sender` sends it.
  func packet(_ number: UInt8, to destination: [UInt8], from source: [UInt8]) -> [UInt8] {
    let payload = [0, 0, 0, 0, 0, 0, 0, number] as [UInt8] + [UInt8](repeating: 0, count: 8)
    var datagram = [0x12, 0x34, 0, 7, 0, 24, 0, 0] + payload
    let pseudo = source + destination + [0, 17, 0, 24]
    let sum = checksum(pseudo + datagram)
    (datagram[6], datagram[7]) = (UInt8(sum >> 8), UInt8(sum & 0xff))
    if isIPv6 { return [0x60, 0, 0, 0, 0, 24, 17, 64] + source + destination + datagram }
    var header = [0x45, 0, 0, 44, 0, 1, 0, 0, 64, 17, 0, 0] + source + destination
    let headerSum = checksum(header)
    (header[10], header[11]) = (UInt8(headerSum >> 8), UInt8(headerSum & 0xff))
    return header + datagram
  }

  func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for index in stride(from: 0, to: bytes.count, by: 2) {
      sum += UInt32(bytes[index]) << 8 | UInt32(index + 1 < bytes.count ? bytes[index + 1] : 0)
    }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return ~UInt16(sum)
  }

  /// A datagram that is built anew from another one: with other ports or addresses if told so, and
  /// with more bytes behind its payload; lengths and checksums are computed from nothing.
  func rebuilt(
    _ packet: [UInt8], adding more: [UInt8] = [], from source: [UInt8]? = nil,
    to destination: [UInt8]? = nil, port: UInt16? = nil
  ) -> [UInt8] {
    let (start, width) = isIPv6 ? (8, 16) : (12, 4)
    let source = source ?? Array(packet[start..<start + width])
    let destination = destination ?? Array(packet[start + width..<start + 2 * width])
    let head = start + 2 * width
    var datagram = Array(packet[head...]) + more
    let length = [UInt8(datagram.count >> 8), UInt8(datagram.count & 0xff)]
    if let port { datagram.replaceSubrange(2..<4, with: [UInt8(port >> 8), UInt8(port & 0xff)]) }
    datagram.replaceSubrange(4..<8, with: length + [0, 0])
    let sum = checksum(source + destination + [0, 17] + length + datagram)
    datagram.replaceSubrange(6..<8, with: [UInt8(sum >> 8), UInt8(sum & 0xff)])
    var header = Array(packet[..<start]) + source + destination
    if isIPv6 {
      header.replaceSubrange(4..<6, with: length)
      return header + datagram
    }
    let whole = head + datagram.count
    header.replaceSubrange(2..<4, with: [UInt8(whole >> 8), UInt8(whole & 0xff)])
    header.replaceSubrange(10..<12, with: [0, 0])
    let headerSum = checksum(header)
    header.replaceSubrange(10..<12, with: [UInt8(headerSum >> 8), UInt8(headerSum & 0xff)])
    return header + datagram
  }
}
