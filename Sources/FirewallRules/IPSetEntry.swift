// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// A type of set that every kernel with ipset has.
enum IPSetKind: String {
  /// Addresses by prefixes.
  case network = "hash:net"
  /// Addresses by prefixes, each with a port of a protocol.
  case networkPort = "hash:net,port"
  /// One address, a port of a protocol, and other addresses by prefixes.
  case hostPortNetwork = "hash:ip,port,net"
  /// Ports of TCP and UDP alike.
  case port = "bitmap:port"
}

/// One entry of a set.
struct IPSetEntry: Sendable, Hashable {
  /// What stands between the commas of an entry.
  enum Part: Sendable, Hashable {
    case prefix(IPPrefix)
    case transport(number: UInt8, port: UInt16)
    case port(UInt16)
  }

  var parts: [Part]
}

extension IPSetEntry: LosslessStringConvertible {
  /// Reads `10.0.0.0/8,tcp:80` and its like; nil for what no set of ours holds.
  init?(_ text: String) {
    parts = []
    for word in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let part = Part(String(word)) else { return nil }
      parts.append(part)
    }
  }

  /// The entry as ipset reads it.
  var description: String { parts.map(\.description).joined(separator: ",") }
}

extension IPSetEntry.Part: LosslessStringConvertible {
  /// ipset writes a protocol by its name where the host knows one.
  private static let protocols: [Substring: UInt8] = [
    "tcp": 6, "udp": 17, "sctp": 132, "udplite": 136,
  ]

  init?(_ text: String) {
    if let prefix = IPPrefix(text) {
      self = .prefix(prefix)
    } else if let port = UInt16(text) {
      self = .port(port)
    } else {
      let words = text.split(separator: ":", omittingEmptySubsequences: false)
      guard words.count == 2, let name = words.first,
        let number = Self.protocols[name] ?? UInt8(name),
        let port = words.last.flatMap({ UInt16($0) })
      else { return nil }
      self = .transport(number: number, port: port)
    }
  }

  var description: String {
    switch self {
    // Some types refuse the length of a single host.
    case .prefix(let prefix) where prefix.length == prefix.address.bitWidth:
      prefix.address.description
    case .prefix(let prefix): prefix.description
    case .transport(let number, let port): "\(number):\(port)"
    case .port(let port): "\(port)"
    }
  }
}

extension IPPrefix {
  /// The fewest prefixes that have these addresses and no others.
  static func covering(_ range: ClosedRange<UInt128>, _ family: Families) -> [IPPrefix] {
    let width = family == .ipv6 ? 128 : 32
    var prefixes: [IPPrefix] = []
    var (low, isAtEnd) = (range.lowerBound, false)
    while !isAtEnd, low <= range.upperBound {
      var free = min(low == 0 ? width : low.trailingZeroBitCount, width)
      // No type holds a prefix of no bits.
      free = min(free, width - 1)
      func last() -> UInt128 { low | ((1 << UInt128(free)) - 1) }
      while free > 0, last() > range.upperBound { free -= 1 }
      guard let prefix = IPPrefix(IPAddress(low, family), length: width - free) else { break }
      prefixes.append(prefix)
      (low, isAtEnd) = last().addingReportingOverflow(1)
    }
    return prefixes
  }
}

extension IPAddress {
  /// An address of a family from its bits in host order.
  init(_ bits: UInt128, _ family: Families) {
    self =
      family == .ipv6
      ? IPAddress(
        high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits))
      : IPAddress(v4: UInt32(truncatingIfNeeded: bits))
  }
}
