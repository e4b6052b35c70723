// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Testing

struct LayerTests {
  @Test func `F24: layers have WFP's numbers`() {
    #expect(
      Layer.frameLayers.map(\.rawValue) == [56, 57, 58, 59, 72, 73])
    #expect(
      [
        Layer.inboundMACFrameEthernet, .outboundMACFrameEthernet, .inboundMACFrameNative,
        .outboundMACFrameNative, .ingressVSwitchEthernet, .egressVSwitchEthernet,
      ].map(\.rawValue) == [56, 57, 58, 59, 72, 73])
    #expect(
      Layer.allCases.filter { !$0.indicatesFrames && !$0.isDiscard }.map(\.rawValue)
        == Array(stride(from: 0, through: 34, by: 2))
        + Array(stride(from: 44, through: 54, by: 2)) + [64, 65])
    let firsts: [(Layer, UInt16)] = [
      (.inboundIPPacketV4, 0), (.outboundIPPacketV4, 4), (.ipForwardV4, 8),
      (.inboundTransportV4, 12), (.outboundTransportV4, 16), (.streamV4, 20),
      (.datagramDataV4, 24), (.inboundICMPErrorV4, 28), (.outboundICMPErrorV4, 32),
      (.aleAuthRecvAcceptV4, 44), (.aleAuthConnectV4, 48), (.aleFlowEstablishedV4, 52),
      (.aleEndpointClosureV4, 64), (.aleEndpointClosureV6, 65),
      (.inboundIPPacketV4Discard, 1), (.outboundTransportV6Discard, 19),
      (.inboundICMPErrorV6Discard, 31), (.aleAuthConnectV6Discard, 51),
    ]
    for (layer, number) in firsts { #expect(layer.rawValue == number) }
  }

  @Test func `a discard layer has the number behind that of its base`() {
    for layer in Layer.allCases where layer.isDiscard {
      #expect(layer.base?.rawValue == layer.rawValue - 1)
      #expect(layer.base?.discard == layer)
      #expect(layer.base.map { $0.name + "-discard" } == layer.name)
      #expect(layer.isIPv6 == layer.base?.isIPv6 && layer.direction == layer.base?.direction)
      #expect(layer.hooks.isEmpty && !layer.indicatesPackets)
    }
    #expect(Layer.streamV4.discard == nil && Layer.inboundMACFrameEthernet.discard == nil)
    #expect(Layer.inboundTransportV4.base == nil && Layer.egressVSwitchEthernet.base == nil)
  }

  @Test func `frames are indicated at no hook and are of no IP version`() {
    for layer in Layer.frameLayers {
      #expect(layer.hook == nil && layer.indicatesPackets && !layer.isIPv6, "\(layer)")
    }
    for layer in Layer.allCases where !layer.indicatesFrames {
      #expect(layer.indicatesPackets == !layer.hooks.isEmpty)
      #expect(layer.isIPv6 == layer.name.contains("-v6"))
    }
  }

  @Test func `datagrams and flows are met both ways, all else at one hook at most`() {
    for layer in Layer.allCases {
      let isBoth =
        layer == .datagramDataV4 || layer == .datagramDataV6 || layer.indicatesFlows
        || layer.isFlowAuthorization
      #expect(layer.hooks.rawValue.nonzeroBitCount <= (isBoth ? 2 : 1))
      #expect((layer.hook == nil) == (isBoth || layer.hooks.isEmpty))
    }
    #expect(Layer.datagramDataV6.hooks == [HookSet(.input), HookSet(.output)])
    #expect(Layer.inboundICMPErrorV4.hook == .input && Layer.outboundICMPErrorV6.hook == .output)
  }

  @Test func `tables that are indexed by layers have room for all`() {
    #expect(Layer.allCases.map { Int($0.rawValue) }.max() == Layer.tableSize - 1)
  }

  @Test func `layers have a direction, a medium and a name of their own`() {
    for layer in Layer.allCases {
      #expect(Layer(name: layer.name) == layer)
      let isInbound = ["inbound", "ingress", "ale-auth-recv"].contains { layer.name.hasPrefix($0) }
      let isOutbound = ["outbound", "egress", "ale-auth-con"].contains { layer.name.hasPrefix($0) }
      #expect(layer.direction == (isInbound ? .inbound : isOutbound ? .outbound : nil), "\(layer)")
      #expect((layer.medium == .ethernet) == layer.name.hasSuffix("mac-frame-ethernet"))
      #expect((layer.medium == .native) == layer.name.hasSuffix("native"))
      #expect((layer.medium == .virtualSwitch) == layer.name.contains("vswitch"))
      #expect((layer.medium == .stream) == layer.name.hasPrefix("stream"))
    }
    #expect(Direction.outbound.rawValue == 0 && Direction.inbound.rawValue == 1)
  }
}
