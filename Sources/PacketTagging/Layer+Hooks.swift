// SPDX-License-Identifier: Apache-2.0

// Where layers are met, and of what.
extension Layer {
  /// The hooks at which the layer is met, none where no IP packets are indicated.
  public var hooks: HookSet {
    switch self {
    case .inboundIPPacketV4, .inboundIPPacketV6: HookSet(.prerouting)
    case .inboundTransportV4, .inboundTransportV6, .inboundICMPErrorV4, .inboundICMPErrorV6:
      HookSet(.input)
    case .ipForwardV4, .ipForwardV6: HookSet(.forward)
    case .outboundTransportV4, .outboundTransportV6, .outboundICMPErrorV4, .outboundICMPErrorV6:
      HookSet(.output)
    case .outboundIPPacketV4, .outboundIPPacketV6: HookSet(.postrouting)
    case .datagramDataV4, .datagramDataV6: [HookSet(.input), HookSet(.output)]
    // Whoever sees one direction alone takes answers for first packets.
    case .aleAuthConnectV4, .aleAuthConnectV6, .aleAuthRecvAcceptV4, .aleAuthRecvAcceptV6,
      .aleFlowEstablishedV4, .aleFlowEstablishedV6, .aleEndpointClosureV4, .aleEndpointClosureV6:
      [HookSet(.input), HookSet(.output)]
    default: []
    }
  }

  /// The one hook at which the layer is met, nil where there is none or there are two.
  public var hook: Hook? {
    let hooks = hooks
    return Hook.allCases.first { hooks == HookSet($0) }
  }

  /// Whether packets or frames, which can bear tags, are indicated here.
  public var indicatesPackets: Bool { !hooks.isEmpty || indicatesFrames }

  /// Whether filters can stand here: where packets are indicated, and where dropped ones are shown.
  public var acceptsFilters: Bool { indicatesPackets || base?.indicatesPackets == true }

  /// Whether a flow's first packet asks here to be let through.
  public var isFlowAuthorization: Bool {
    switch self {
    case .aleAuthConnectV4, .aleAuthConnectV6, .aleAuthRecvAcceptV4, .aleAuthRecvAcceptV6: true
    default: false
    }
  }

  /// Whether flows are told of here, without a packet.
  public var indicatesFlows: Bool {
    switch self {
    case .aleFlowEstablishedV4, .aleFlowEstablishedV6, .aleEndpointClosureV4,
      .aleEndpointClosureV6:
      true
    default: false
    }
  }

  /// Whether nothing can be decided here: what is shown has been dropped, or is no packet.
  public var isInspectionOnly: Bool { isDiscard || indicatesFlows }

  /// Whether the layer shows what was dropped, and can decide nothing.
  @inlinable public var isDiscard: Bool { rawValue < 56 && rawValue & 1 != 0 }

  /// The layer whose dropped packets this one shows, nil if it is no discard layer.
  public var base: Layer? { isDiscard ? Layer(rawValue: rawValue & ~1) : nil }

  /// The layer that shows what is dropped here, nil if there is none.
  public var discard: Layer? {
    rawValue < 56 && !isDiscard ? Layer(rawValue: rawValue | 1) : nil
  }

  /// Whether IPv6 packets are indicated here; IPv4 ones or frames otherwise.
  @inlinable
  public var isIPv6: Bool { rawValue < 56 ? rawValue & 2 != 0 : rawValue == 65 }

  /// The layer that most packets at `hook` meet first.
  @inlinable
  public init(hook: Hook, isIPv6: Bool) {
    switch hook {
    case .prerouting: self = isIPv6 ? .inboundIPPacketV6 : .inboundIPPacketV4
    case .input: self = isIPv6 ? .inboundTransportV6 : .inboundTransportV4
    case .forward: self = isIPv6 ? .ipForwardV6 : .ipForwardV4
    case .output: self = isIPv6 ? .outboundTransportV6 : .outboundTransportV4
    case .postrouting: self = isIPv6 ? .outboundIPPacketV6 : .outboundIPPacketV4
    }
  }
}
