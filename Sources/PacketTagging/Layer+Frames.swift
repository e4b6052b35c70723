// SPDX-License-Identifier: Apache-2.0

/// Which way a packet goes.
///
/// Mirrors `FWP_DIRECTION`.
public enum Direction: UInt32, Sendable, BitwiseCopyable {
  /// It leaves this host, or the bridge.
  case outbound = 0
  /// It arrives at this host, or at the bridge.
  case inbound = 1
}

/// What a layer indicates.
public enum LayerMedium: Sendable, BitwiseCopyable {
  /// IP packets, from their IP headers on.
  case network
  /// Data of streams, which is no packet.
  case stream
  /// Frames of Ethernet interfaces.
  case ethernet
  /// Frames of any interface, as its own medium has them.
  case native
  /// Frames of a bridge's ports.
  case virtualSwitch
}

extension Layer {
  /// One more than the highest number of a layer: the size of tables that are indexed by layers.
  @inlinable public static var tableSize: Int { 74 }

  /// Whether frames are indicated here that are taken out of a device, and do not wait in the kernel.
  @inlinable public var indicatesDivertedFrames: Bool { rawValue >= 56 && rawValue < 60 }

  /// The layers at which frames are indicated.
  public static let frameLayers = allCases.filter(\.indicatesFrames)

  /// Whether frames are indicated here, which have MAC headers.
  @inlinable public var indicatesFrames: Bool { indicatesDivertedFrames || rawValue >= 72 }

  /// What is indicated here.
  public var medium: LayerMedium {
    switch self {
    case .inboundMACFrameEthernet, .outboundMACFrameEthernet: .ethernet
    case .inboundMACFrameNative, .outboundMACFrameNative: .native
    case .ingressVSwitchEthernet, .egressVSwitchEthernet: .virtualSwitch
    case .streamV4, .streamV6: .stream
    default: .network
    }
  }

  /// Which way the layer's packets go; nil for layers of both ways and of none.
  public var direction: Direction? {
    switch base ?? self {
    case .inboundMACFrameEthernet, .inboundMACFrameNative, .ingressVSwitchEthernet,
      .inboundIPPacketV4, .inboundIPPacketV6, .inboundTransportV4, .inboundTransportV6,
      .inboundICMPErrorV4, .inboundICMPErrorV6, .aleAuthRecvAcceptV4, .aleAuthRecvAcceptV6:
      .inbound
    case .outboundMACFrameEthernet, .outboundMACFrameNative, .egressVSwitchEthernet,
      .outboundIPPacketV4, .outboundIPPacketV6, .outboundTransportV4, .outboundTransportV6,
      .outboundICMPErrorV4, .outboundICMPErrorV6, .aleAuthConnectV4, .aleAuthConnectV6:
      .outbound
    default: nil
    }
  }
}
