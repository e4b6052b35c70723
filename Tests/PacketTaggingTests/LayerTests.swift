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
      Layer.allCases.filter { !$0.indicatesFrames }.map(\.rawValue)
        == Array(stride(from: 0, through: 22, by: 2)))
  }

  @Test func `frames are indicated at no hook and are of no IP version`() {
    for layer in Layer.frameLayers {
      #expect(layer.hook == nil && layer.indicatesPackets && !layer.isIPv6, "\(layer)")
    }
    for layer in Layer.allCases where !layer.indicatesFrames {
      #expect(layer.indicatesPackets == (layer.hook != nil))
      #expect(layer.isIPv6 == layer.name.hasSuffix("v6"))
    }
  }

  @Test func `tables that are indexed by layers have room for all`() {
    #expect(Layer.allCases.map { Int($0.rawValue) }.max() == Layer.tableSize - 1)
  }

  @Test func `layers have a direction, a medium and a name of their own`() {
    for layer in Layer.allCases {
      #expect(Layer(name: layer.name) == layer)
      let isInbound = layer.name.hasPrefix("inbound") || layer.name.hasPrefix("ingress")
      let isOutbound = layer.name.hasPrefix("outbound") || layer.name.hasPrefix("egress")
      #expect(layer.direction == (isInbound ? .inbound : isOutbound ? .outbound : nil), "\(layer)")
      #expect((layer.medium == .ethernet) == layer.name.hasSuffix("mac-frame-ethernet"))
      #expect((layer.medium == .native) == layer.name.hasSuffix("native"))
      #expect((layer.medium == .virtualSwitch) == layer.name.contains("vswitch"))
      #expect((layer.medium == .stream) == layer.name.hasPrefix("stream"))
    }
    #expect(Direction.outbound.rawValue == 0 && Direction.inbound.rawValue == 1)
  }
}
