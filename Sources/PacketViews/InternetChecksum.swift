// SPDX-License-Identifier: Apache-2.0

/// A running sum for the Internet checksum of RFC 1071.
public struct InternetChecksum: BitwiseCopyable, Sendable {
  @usableFromInline var sum: UInt64 = 0

  /// Starts at zero.
  @inlinable
  public init() {}

  /// The checksum: the complement of the folded sum, in host order.
  ///
  /// Over bytes that include a correct checksum field it is 0.
  @inlinable public var value: UInt16 { ~Self.fold(sum) }

  /// Adds `bytes`; all pieces of one message but the last must have an even length.
  @inlinable
  public mutating func add(_ bytes: RawSpan) {
    sum &+= UInt64(UInt16(bigEndian: Self.fold(bytes.sumOfNativeWords())))
  }

  /// Adds one 16-bit word in host order.
  @inlinable
  public mutating func add(_ word: UInt16) { sum &+= UInt64(word) }

  /// Adds the four words of `value`, which is in host order.
  @inlinable
  mutating func add(_ value: UInt64) { sum &+= (value >> 32) &+ (value & 0xffff_ffff) }

  /// Adds the pseudo-header of TCP, UDP and ICMPv6.
  ///
  /// - Parameters:
  ///   - source: The packet's source address.
  ///   - destination: Where the packet ends up: with a routing header, its last segment.
  ///   - protocolNumber: The transport protocol.
  ///   - length: The length of transport header and payload in bytes.
  @inlinable
  public mutating func addPseudoHeader(
    source: IPAddress, destination: IPAddress, protocolNumber: IPProtocol, length: Int
  ) {
    add(source.high)
    add(source.low)
    add(destination.high)
    add(destination.low)
    add(UInt64(protocolNumber.rawValue))
    add(UInt64(truncatingIfNeeded: length))
  }

  /// Folds a sum of 16-bit or 32-bit words into one 16-bit word with end-around carry.
  @inlinable
  static func fold(_ sum: UInt64) -> UInt16 {
    var sum = (sum >> 32) &+ (sum & 0xffff_ffff)
    sum = (sum >> 16) &+ (sum & 0xffff)
    sum = (sum >> 16) &+ (sum & 0xffff)
    sum = (sum >> 16) &+ (sum & 0xffff)
    return UInt16(truncatingIfNeeded: sum)
  }
}

// MARK: - Incremental update

extension InternetChecksum {
  /// The `checksum` of a message in which the 16-bit word `old` becomes `new` (RFC 1624).
  @inlinable
  public static func updated(_ checksum: UInt16, replacing old: UInt16, with new: UInt16) -> UInt16
  {
    ~fold(UInt64(~checksum) &+ UInt64(~old) &+ UInt64(new))
  }

  /// The `checksum` of a message in which the address `old` becomes `new` (RFC 1624).
  @inlinable
  public static func updated(
    _ checksum: UInt16, replacing old: IPAddress, with new: IPAddress
  ) -> UInt16 {
    var running = InternetChecksum()
    running.add(~checksum)
    running.add(~old.high)
    running.add(~old.low)
    running.add(new.high)
    running.add(new.low)
    return running.value
  }
}

// MARK: - Whole messages

extension InternetChecksum {
  /// The checksum of an IPv4 header, whatever its checksum field holds.
  ///
  /// `header` has its options and nothing behind it.
  @inlinable
  public static func header(_ header: RawSpan) -> UInt16 { skippingField(at: 10, header).value }

  /// The checksum of a TCP, UDP, ICMP or ICMPv6 message, whatever its checksum field holds.
  ///
  /// A UDP checksum that comes out as 0 is 0xffff, because 0 means that there is none.
  ///
  /// - Parameters:
  ///   - segment: Transport header and payload, and nothing behind them.
  ///   - protocolNumber: The transport protocol.
  ///   - source: The packet's source address.
  ///   - destination: Where the packet ends up: with a routing header, its last segment.
  /// - Returns: The checksum in host order; nil for other protocols.
  @inlinable
  public static func transport(
    _ segment: RawSpan, protocolNumber: IPProtocol, source: IPAddress, destination: IPAddress
  ) -> UInt16? {
    guard let field = fieldOffset(protocolNumber, over: source.version) else { return nil }
    var running = skippingField(at: field, segment)
    if protocolNumber != .icmp {
      running.addPseudoHeader(
        source: source, destination: destination, protocolNumber: protocolNumber,
        length: segment.byteCount)
    }
    return protocolNumber == .udp ? nonZero(running.value) : running.value
  }

  /// A UDP checksum as it is sent: 0 means none and goes as 0xffff, which is equal to it.
  @inlinable
  static func nonZero(_ checksum: UInt16) -> UInt16 { checksum == 0 ? 0xffff : checksum }

  /// Where the checksum is in the transport header; nil where we cannot compute it.
  @inlinable
  static func fieldOffset(_ protocolNumber: IPProtocol, over version: IPVersion) -> Int? {
    switch protocolNumber {
    case .tcp: 16
    case .udp: 6
    case .icmp where version == .v4: 2
    case .icmpv6 where version == .v6: 2
    default: nil
    }
  }

  @inlinable
  static func skippingField(at offset: Int, _ bytes: RawSpan) -> InternetChecksum {
    var running = InternetChecksum()
    running.add(bytes.slice(from: 0, length: offset))
    running.add(bytes.slice(from: offset &+ 2))
    return running
  }
}
