// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import LinkLayer
internal import PacketTagging
internal import PacketViews

/// What the network devices are, as they were at the last look.
struct DeviceKinds: Sendable {
  private var kinds: [(device: UInt32, hardware: UInt16)] = []

  /// Knows nothing.
  init() {}

  init(_ devices: [LinkDevice]) {
    kinds = devices.map { ($0.index, $0.kind) }.sorted { $0.device < $1.device }
  }

  /// Fills in what is known of a packet's devices.
  func describe(_ packet: inout PacketMetadata) {
    packet.inputHardware = find(packet.inputDevice)
    packet.outputHardware = find(packet.outputDevice)
  }

  private func find(_ device: UInt32) -> UInt16? {
    guard device != 0 else { return nil }
    var (low, high) = (0, kinds.count)
    while low < high {
      let middle = (low + high) / 2
      if kinds[middle].device < device { low = middle + 1 } else { high = middle }
    }
    return low < kinds.count && kinds[low].device == device ? kinds[low].hardware : nil
  }
}

extension FilterPolicy {
  /// Whether a filter asks what a packet's interface is; its index is known anyway.
  var asksForDevices: Bool {
    filters.contains { filter in
      !filter.layer.indicatesFrames && filter.conditions.contains { $0.field.isOfDevices }
    }
  }
}

extension Field {
  fileprivate var isOfDevices: Bool {
    switch self {
    case .ipLocalInterface, .ipForwardInterface, .ipPhysicalArrivalInterface,
      .ipPhysicalNexthopInterface, .ipArrivalInterface, .ipNexthopInterface, .interfaceType,
      .arrivalInterfaceType, .nexthopInterfaceType, .tunnelType, .arrivalTunnelType,
      .nexthopTunnelType:
      true
    default: false
    }
  }
}
