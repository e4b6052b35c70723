// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import FirewallRules
import NetfilterQueue
import PacketTagging
import Testing

@testable import CalloutBridge

@Suite struct BridgedFrameTests {
  @Test func `each hook of a bridge has its layer`() {
    var indication = Indication()
    let layers = (0...5 as ClosedRange<UInt8>).map { hook in
      indication.hook = hook
      return indication.bridgeLayer
    }
    #expect(
      layers == [
        .ingressVSwitchEthernet, nil, .egressVSwitchEthernet, .egressVSwitchEthernet, nil, nil,
      ])
  }

  @Test func `ports are the physical devices, and the bridge is its host's own`() {
    for (hook, devices, ports) in [
      (0, [9, 0, 3, 0], [9, 3, 0, 3]), (2, [9, 9, 3, 4], [9, 3, 4, 4]),
      (3, [0, 9, 0, 4], [9, 9, 4, 4]),
    ] as [(UInt8, [UInt32], [UInt32])] {
      var indication = Indication()
      indication.hook = hook
      indication.metadata.inputDevice = devices[0]
      indication.metadata.outputDevice = devices[1]
      indication.metadata.physicalInputDevice = devices[2]
      indication.metadata.physicalOutputDevice = devices[3]
      let frame = indication.frameMetadata(length: 60)
      let found = [
        frame.bridgeIndex, frame.sourcePort, frame.destinationPort, frame.interfaceIndex,
      ]
      #expect(found == ports)
    }
  }

  @Test func `a frame's length counts what was not copied, its tag and its mark are told`() {
    var indication = Indication()
    indication.payloadLength = 128
    indication.metadata.originalLength = 1500
    indication.metadata.mark = 5
    indication.metadata.priority = 6
    indication.metadata.isChecksumPartial = true
    var frame = indication.frameMetadata(length: 142)
    #expect(frame.originalLength == 1514 && frame.mark == 5 && frame.priority == 6)
    #expect(frame.isChecksumPartial && !frame.isTagBeside)
    indication.metadata.vlanProtocol = 0x8100
    frame = indication.frameMetadata(length: 146)
    #expect(frame.originalLength == 1518 && frame.isTagBeside)
  }

  @Test func `layers of bridges bring rules for frames at the hooks that they need`() {
    let configuration = BridgeConfiguration()
    #expect(
      configuration.ruleSet(for: [.ingressVSwitchEthernet, .inboundIPPacketV4]).hooks
        == [.prerouting: [.ipv4, .bridge]])
    #expect(
      configuration.ruleSet(for: [.egressVSwitchEthernet, .ipForwardV6]).hooks
        == [.forward: [.ipv6, .bridge], .output: .bridge])
    #expect(configuration.ruleSet(for: [.inboundMACFrameEthernet]).hooks.isEmpty)
  }

  @Test func `an error says what to do`() {
    let error = BridgeError.layerNotServed(.egressVSwitchEthernet, reason: "no such statement")
    #expect(error.description.contains("egress-vswitch-ethernet here"))
    #expect(error.description.contains("(no such statement): use a kernel with nft_queue"))
  }
}
