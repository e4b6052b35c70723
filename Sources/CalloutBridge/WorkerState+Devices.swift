// SPDX-License-Identifier: Apache-2.0

internal import LinkLayer

// What happens to the devices whose frames are diverted.
extension WorkerState {
  /// Takes over what has changed of the ports' devices, by index; has those ports go whose device
  /// or helper has gone, and those whose helper somebody has set down: it would lose every frame.
  mutating func follow(_ devices: [UInt32: LinkDevice], gone: Set<UInt32>) {
    for port in ports {
      let helper = devices[port.divert.helperIndex]
      guard let device = devices[port.name.device], !gone.contains(device.index),
        let helper, helper.isUp
      else {
        port.isUnwanted = true
        continue
      }
      port.learn(device)
    }
  }

  /// What the frames of each port have in common.
  var portTraits: [FramePort.Name: FrameTraits] {
    Dictionary(ports.map { ($0.name, $0.traits) }) { $1 }
  }

  /// How many ports are on their way out.
  var leavingPorts: Int { ports.count { $0.isUnwanted } + closer.count }
}
