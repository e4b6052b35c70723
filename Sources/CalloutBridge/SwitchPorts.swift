// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import LinkLayer

/// What stands behind the ports of bridges, as the devices were at the last look.
struct SwitchPorts: Sendable {
  private struct Port {
    var device: UInt32
    var type: SwitchInterfaceType
    var isMachine: Bool
    /// Of a bridge, how far its frames can go.
    var network: SwitchNetworkType?
  }

  /// By device index.
  private var ports: [Port] = []

  /// Knows nothing.
  init() {}

  /// Drivers of devices that lie on others, or reach other machines by themselves.
  private static let uplinks: Set = [
    "bond", "team", "vlan", "vxlan", "geneve", "gretap", "ip6gretap",
  ]

  init(_ devices: [LinkDevice]) {
    var reached: [UInt32: SwitchNetworkType] = [:]
    for device in devices {
      guard let type = Self.type(of: device) else { continue }
      ports.append(Port(device: device.index, type: type, isMachine: device.driver == "tun"))
      if type == .external, let master = device.master { reached[master] = .external }
    }
    for device in devices where device.driver == "bridge" {
      let network = reached[device.index] ?? (device.isUp ? .internal : .private)
      ports.append(
        Port(device: device.index, type: .internal, isMachine: false, network: network))
    }
    ports.sort { $0.device < $1.device }
  }

  private static func type(of device: LinkDevice) -> SwitchInterfaceType? {
    guard device.master != nil, device.driver != "bridge" else { return nil }
    guard let driver = device.driver else { return .external }
    return uplinks.contains(driver) ? .external : .synthetic
  }

  /// Fills in what is known of a frame's ports.
  func describe(_ frame: inout CalloutEngine.FrameMetadata) {
    let (source, destination) = (find(frame.sourcePort), find(frame.destinationPort))
    frame.sourcePortType = source?.type
    frame.destinationPortType = destination?.type
    frame.networkType = find(frame.bridgeIndex)?.network
    frame.isVMToVM = source?.isMachine == true && destination?.isMachine == true
  }

  /// Whether the device is a bridge.
  func isBridge(_ device: UInt32) -> Bool { find(device)?.network != nil }

  private func find(_ device: UInt32) -> Port? {
    var (low, high) = (0, ports.count)
    while low < high {
      let middle = (low + high) / 2
      if ports[middle].device < device { low = middle + 1 } else { high = middle }
    }
    return low < ports.count && ports[low].device == device ? ports[low] : nil
  }
}
