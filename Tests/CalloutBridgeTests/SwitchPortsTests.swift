// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import Testing

@testable import CalloutBridge
@testable import LinkLayer

@Suite struct SwitchPortsTests {
  func device(
    _ index: UInt32, _ driver: String?, of master: UInt32? = nil, isUp: Bool = true
  ) -> LinkDevice {
    var device = LinkDevice(index: index, kind: 1, flags: isUp ? 1 : 0)
    (device.driver, device.master) = (driver, master)
    return device
  }

  func frame(
    _ ports: SwitchPorts, bridge: UInt32, _ source: UInt32, _ destination: UInt32
  ) -> CalloutEngine.FrameMetadata {
    var frame = CalloutEngine.FrameMetadata()
    (frame.bridgeIndex, frame.sourcePort, frame.destinationPort) = (bridge, source, destination)
    ports.describe(&frame)
    return frame
  }

  @Test func `ports are known by what made them, networks by how far they reach`() {
    let ports = SwitchPorts([
      device(9, "bridge"), device(2, nil, of: 9), device(7, "tun", of: 9), device(5, "veth", of: 9),
      device(3, "vlan", of: 9), device(4, "tun", of: 8), device(8, "bridge"), device(6, "veth"),
      device(10, "tun", of: 8), device(11, "bridge", isUp: false),
    ])
    let types = [2, 7, 5, 3, 9, 6, 12, 0].map { frame(ports, bridge: 9, $0, 0).sourcePortType }
    #expect(
      types == [.external, .synthetic, .synthetic, .external, .internal, nil, nil, nil])
    #expect(frame(ports, bridge: 9, 2, 7).destinationPortType == .synthetic)
    #expect(
      [9, 8, 11, 2, 1].map { frame(ports, bridge: $0, 0, 0).networkType }
        == [.external, .internal, .private, nil, nil])
    #expect(frame(ports, bridge: 8, 4, 10).isVMToVM && !frame(ports, bridge: 9, 7, 5).isVMToVM)
    #expect(frame(SwitchPorts(), bridge: 9, 2, 7).sourcePortType == nil)
  }
}
