// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF
internal import CLinux
internal import Kernel
internal import Synchronization

/// What hangs at a device where there is no TCX, and leads to the divert's program or nowhere.
///
/// Its filter stays as long as this object, since a device loses what it is about to send whenever a
/// clsact discipline comes or goes. The kernel empties the gate when no process has it open any more,
/// however that ended.
final class DivertGate: Sendable {
  private let map: OwnedDescriptor
  private let program: OwnedDescriptor
  private let device: LinkDevice
  private let direction: LinkDirection
  private let helper: UInt32
  private let filter: Mutex<ClsactFilter>

  /// Hangs a gate that is shut at a device.
  init(
    _ settings: DivertSettings, state: DivertState, at device: LinkDevice,
    _ direction: LinkDirection
  ) throws(DivertError) {
    let number = unsafe clb_make_gate(DivertProgram.gate.rawValue)
    guard number >= 0 else { throw .noMap(.current("make a BPF program array")) }
    // A process that is killed closes its highest descriptors first: then the fewest frames are
    // lost at a helper that has gone.
    let map = OwnedDescriptor(owning: clx_raise_descriptor(number, 900))
    let program = try DivertPrograms.load(.gate, settings, state, gate: map.number)
    filter = Mutex(
      try ClsactFilter.add(program, to: device, direction, helper: settings.helper))
    self.map = map
    self.program = program
    self.device = device
    self.direction = direction
    helper = settings.helper
  }

  deinit { filter.withLock { $0.remove() } }

  /// Has frames go through a program, also where somebody has taken the filter away.
  func open(to program: borrowing OwnedDescriptor) throws(DivertError) {
    if !filter.withLock({ $0.isThere }) {
      let another = try ClsactFilter.add(self.program, to: device, direction, helper: helper)
      filter.withLock { $0 = another }
    }
    guard clb_open_gate(map.number, program.number) == 0 else {
      throw .programRefused(.divert, .current("put a program into an array"))
    }
  }

  /// Has frames pass, but those that are within the program.
  func shut() { _ = clb_shut_gate(map.number) }
}
