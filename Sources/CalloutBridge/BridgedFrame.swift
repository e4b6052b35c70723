// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews

/// What the verdict of a bridged frame needs to know of it.
struct BridgedFrame: BitwiseCopyable {
  var layer: Layer
  var etherType: EtherType
  /// Its new MAC header, if a callout has rewritten it.
  var header: BridgedHeader?

  /// The event that tells that the layer is done with it.
  var completion: LifeEventKind {
    layer == .ingressVSwitchEthernet ? .vSwitchIngressComplete : .vSwitchEgressComplete
  }
}

/// Which places of ours a bridged frame can come to.
struct BridgeHooks: BitwiseCopyable {
  private(set) var ingress = false
  private(set) var egress = false
  /// The MAC layers of devices that send.
  private(set) var sentFrames = false
  /// Those of devices that receive, as the bridge itself does.
  private(set) var receivedFrames = false

  /// Whether frames are met as they enter or leave bridges.
  var areMet: Bool { ingress || egress }

  init() {}

  init(_ policy: borrowing CompiledPolicy) {
    ingress = policy.hasFilters(at: .ingressVSwitchEthernet)
    egress = policy.hasFilters(at: .egressVSwitchEthernet)
    sentFrames =
      policy.hasFilters(at: .outboundMACFrameEthernet)
      || policy.hasFilters(at: .outboundMACFrameNative)
    receivedFrames =
      policy.hasFilters(at: .inboundMACFrameEthernet)
      || policy.hasFilters(at: .inboundMACFrameNative)
  }
}

extension Indication {
  /// The layer of a bridged frame; nil at hooks that have none.
  var bridgeLayer: Layer? {
    switch hook {
    case 0: .ingressVSwitchEthernet  // NF_BR_PRE_ROUTING
    case 2, 3: .egressVSwitchEthernet  // NF_BR_FORWARD, NF_BR_LOCAL_OUT
    default: nil
    }
  }

  /// What the kernel says of a bridged frame of so many bytes, its payload's uncopied rest included.
  func frameMetadata(length: Int) -> CalloutEngine.FrameMetadata {
    var frame = CalloutEngine.FrameMetadata()
    frame.mark = metadata.mark
    frame.priority = metadata.priority
    let missing = Int(metadata.originalLength) - payloadLength
    frame.originalLength = UInt32(clamping: length + max(0, missing))
    // The bridge is its host's own port.
    frame.bridgeIndex = metadata.inputDevice != 0 ? metadata.inputDevice : metadata.outputDevice
    frame.sourcePort =
      metadata.physicalInputDevice != 0 ? metadata.physicalInputDevice : frame.bridgeIndex
    frame.destinationPort = metadata.physicalOutputDevice
    frame.interfaceIndex = hook == 0 ? frame.sourcePort : frame.destinationPort
    frame.isTagBeside = metadata.vlanProtocol != nil
    frame.offload.flags = metadata.isChecksumPartial ? 1 : 0
    return frame
  }
}
