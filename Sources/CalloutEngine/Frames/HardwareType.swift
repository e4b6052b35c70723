// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// What a network device is, as Linux numbers it.
///
/// `ARPHRD_*`.
public struct HardwareType: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
  /// The number.
  public let rawValue: UInt16
  /// From a number; every one is valid.
  public init(rawValue: UInt16) { self.rawValue = rawValue }
  /// Ethernet, or what looks like it: bridges, veth, taps, Wi-Fi stations.
  public static let ethernet = HardwareType(rawValue: 1)
  /// InfiniBand.
  public static let infiniBand = HardwareType(rawValue: 32)
  /// PPP.
  public static let ppp = HardwareType(rawValue: 512)
  /// Bare IP of a mobile modem.
  public static let rawIP = HardwareType(rawValue: 519)
  /// IP in IP.
  public static let tunnel = HardwareType(rawValue: 768)
  /// IPv6 in IPv6, or IPv4 in IPv6.
  public static let tunnel6 = HardwareType(rawValue: 769)
  /// The loopback device.
  public static let loopback = HardwareType(rawValue: 772)
  /// IPv6 in IPv4.
  public static let sit = HardwareType(rawValue: 776)
  /// GRE.
  public static let gre = HardwareType(rawValue: 778)
  /// GRE over IPv6.
  public static let gre6 = HardwareType(rawValue: 823)
  /// 802.11 with its own headers.
  public static let ieee80211 = HardwareType(rawValue: 801)
  /// No link header at all: tun, WireGuard.
  public static let none = HardwareType(rawValue: 0xfffe)

  /// Whether frames of such a device begin with Ethernet headers.
  public var hasEthernetHeader: Bool { self == .ethernet || self == .loopback }

  /// Whether frames of such a device begin with IP headers, so that they can be classified.
  public var isRawIP: Bool {
    switch self {
    case .rawIP, .none, .ppp, .tunnel, .sit, .gre: true
    default: false
    }
  }

  /// The interface type as IANA numbers it.
  ///
  /// Mirrors `IF_TYPE_*`.
  public var interfaceType: UInt32 {
    switch self {
    case .ethernet: 6
    case .ppp: 23
    case .loopback: 24
    case .none: 53
    case .ieee80211: 71
    case .tunnel, .tunnel6, .sit, .gre, .gre6: 131
    case .infiniBand: 199
    case .rawIP: 243
    default: 1
    }
  }

  /// What tunnel it is: 0 none, 1 another, 2 IP in IP.
  ///
  /// Mirrors `TUNNEL_TYPE`.
  public var tunnelType: UInt32 {
    switch self {
    case .tunnel, .tunnel6, .sit: 2
    case .gre, .gre6: 1
    default: 0
    }
  }

  /// The interface of that index and type as a `NET_LUID`: its type in the high 16 bits, its index in
  /// the 24 below.
  func luid(ofIndex index: UInt32) -> UInt64 {
    UInt64(interfaceType) << 48 | UInt64(index & 0xff_ffff) << 24
  }

  /// The medium.
  ///
  /// Mirrors `NDIS_MEDIUM`.
  public var mediaType: UInt32 {
    switch self {
    case .ppp: 3
    case .rawIP: 9
    case .infiniBand: 14
    case .tunnel, .sit, .gre: 15
    case .ieee80211: 16
    case .loopback: 17
    case .none: 19
    default: 0
    }
  }
}

extension FrameLayout {
  /// Reads a frame of such a device, which begins with an Ethernet header or with an IP header; never
  /// fails.
  public init(parsing bytes: RawSpan, of type: HardwareType) {
    if type.hasEthernetHeader { self.init(parsing: bytes) } else { self.init(parsingRawIP: bytes) }
  }
}
