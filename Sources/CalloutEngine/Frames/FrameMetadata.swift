// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// What is known of a frame beside its bytes; what a layer does not have is asked of the frame.
///
/// Mirrors `FWPS_INCOMING_METADATA_VALUES0`. Valid only inside `classify`, like the frame.
public struct FrameMetadata: BitwiseCopyable, Sendable {
  /// The index of the interface that received it or will send it; on a bridge, that of the port.
  public var interfaceIndex: UInt32 = 0
  /// That interface's Ethernet address, 0 if it has none.
  public var interfaceAddress = MACAddress(rawValue: 0)
  /// What that interface is.
  public var hardwareType = HardwareType.ethernet
  /// The frame's mark, all 32 bits.
  public var mark: UInt32 = 0
  /// `skb->priority`.
  public var priority: UInt32 = 0
  /// The frame's whole length in bytes, its tags included.
  public var originalLength: UInt32 = 0
  /// What the kernel has not finished.
  public var offload = FrameOffload()
  /// The routing compartment; this network namespace is WFP's default one.
  public var compartment: UInt32 = 1
  /// The bridge's device index, 0 off bridges.
  public var bridgeIndex: UInt32 = 0
  /// The tenant's network on the bridge, 0 if unknown.
  public var tenantNetwork: UInt32 = 0
  /// The port's device index by which the frame entered the bridge, 0 if unknown.
  public var sourcePort: UInt32 = 0
  /// The port's device index by which the frame leaves the bridge, 0 if unknown.
  public var destinationPort: UInt32 = 0
  /// What stands behind the source port, nil if unknown.
  public var sourcePortType: SwitchInterfaceType?
  /// What stands behind the destination port, nil if unknown.
  public var destinationPortType: SwitchInterfaceType?
  /// How far the bridge's frames can go, nil if unknown.
  public var networkType: SwitchNetworkType?
  /// Whether the kernel kept the outermost VLAN tag beside the frame; in `bytes` it is in its place.
  public var isTagBeside = false
  /// Injected by this engine.
  public var isInjected = false
  /// Injected at this interface and direction by another engine.
  public var isInjectedByOther = false
  /// What tells other engines at the interface that they have had it, if it goes on late.
  package var trail: UInt32 = 0
  /// Whether the interface has a physical connector.
  public var hasConnector = false
  /// Whether the interface is a Wi-Fi station.
  public var isWireless = false
  /// Whether both ends are virtual machines of one bridge.
  public var isVMToVM = false
  /// Whether it is one more copy of a frame for several ports of a bridge.
  public var isFurtherCopy = false

  /// Metadata with nothing set.
  public init() {}

  /// The transport checksum is still to be filled in.
  public var isChecksumPartial: Bool { offload.isChecksumPartial }

  /// The interface as a `NET_LUID`.
  public var interfaceLUID: UInt64 {
    hardwareType.luid(ofIndex: interfaceIndex)
  }

  /// The physical medium.
  ///
  /// Mirrors `NDIS_PHYSICAL_MEDIUM`.
  public var physicalMediaType: UInt32 {
    if isWireless || hardwareType == .ieee80211 { return 9 }
    switch hardwareType {
    case .rawIP: return 8
    case .ethernet: return hasConnector ? 14 : 0
    default: return 0
    }
  }
}
