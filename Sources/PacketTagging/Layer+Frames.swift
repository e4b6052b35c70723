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
  @inlinable public var indicatesDivertedFrames: Bool { rawValue >= 56 && rawValue < 72 }

  /// The layers at which frames are indicated.
  public static let frameLayers = allCases.filter(\.indicatesFrames)

  /// Whether frames are indicated here, which have MAC headers.
  @inlinable public var indicatesFrames: Bool { rawValue >= 56 }

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

  /// Which way the layer's packets go; nil for forwarded packets and streams, which have none.
  public var direction: Direction? {
    switch self {
    case .inboundMACFrameEthernet, .inboundMACFrameNative, .ingressVSwitchEthernet: .inbound
    case .outboundMACFrameEthernet, .outboundMACFrameNative, .egressVSwitchEthernet: .outbound
    default:
      switch hook {
      case .prerouting, .input: .inbound
      case .output, .postrouting: .outbound
      case .forward, nil: nil
      }
    }
  }
}
