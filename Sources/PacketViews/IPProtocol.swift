// SPDX-License-Identifier: Apache-2.0

/// The version of the Internet Protocol; the raw value is the version nibble.
public enum IPVersion: UInt8, Sendable, Hashable, BitwiseCopyable {
  /// IPv4.
  case v4 = 4
  /// IPv6.
  case v6 = 6
}

/// An IANA protocol number, as in IPv4's protocol and IPv6's next header field.
public struct IPProtocol: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
  /// The number on the wire.
  public let rawValue: UInt8

  /// Creates the protocol with the number `rawValue`; every number is valid.
  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// IPv6 hop-by-hop options (0).
  @inlinable public static var hopByHop: Self { Self(rawValue: 0) }
  /// ICMP for IPv4 (1).
  @inlinable public static var icmp: Self { Self(rawValue: 1) }
  /// IGMP (2).
  @inlinable public static var igmp: Self { Self(rawValue: 2) }
  /// IPv4 in IP (4).
  @inlinable public static var ipv4: Self { Self(rawValue: 4) }
  /// TCP (6).
  @inlinable public static var tcp: Self { Self(rawValue: 6) }
  /// UDP (17).
  @inlinable public static var udp: Self { Self(rawValue: 17) }
  /// IPv6 in IP (41).
  @inlinable public static var ipv6: Self { Self(rawValue: 41) }
  /// IPv6 routing header (43).
  @inlinable public static var routing: Self { Self(rawValue: 43) }
  /// IPv6 fragment header (44).
  @inlinable public static var fragment: Self { Self(rawValue: 44) }
  /// GRE (47).
  @inlinable public static var gre: Self { Self(rawValue: 47) }
  /// Encapsulating security payload (50).
  @inlinable public static var esp: Self { Self(rawValue: 50) }
  /// Authentication header (51).
  @inlinable public static var authentication: Self { Self(rawValue: 51) }
  /// ICMPv6 (58).
  @inlinable public static var icmpv6: Self { Self(rawValue: 58) }
  /// No next header (59): nothing follows the IPv6 headers.
  @inlinable public static var none: Self { Self(rawValue: 59) }
  /// IPv6 destination options (60).
  @inlinable public static var destinationOptions: Self { Self(rawValue: 60) }
  /// SCTP (132).
  @inlinable public static var sctp: Self { Self(rawValue: 132) }
  /// UDP-Lite (136).
  @inlinable public static var udpLite: Self { Self(rawValue: 136) }

  /// Whether the number names an IPv6 extension header that the kernel walks over.
  @inlinable
  public var isExtensionHeader: Bool {
    switch rawValue {
    case 0, 43, 44, 51, 60: true
    default: false
    }
  }

  /// Whether the protocol is ICMP for `version`.
  @inlinable
  public func isICMP(over version: IPVersion) -> Bool {
    self == (version == .v4 ? .icmp : .icmpv6)
  }
}
