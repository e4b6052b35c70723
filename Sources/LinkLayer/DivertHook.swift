// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF
internal import CLinux
internal import Glibc
internal import Kernel

/// How the programs of a divert hang at devices.
public enum DivertAttachment: String, Sendable, Hashable, CaseIterable {
  /// By TCX links, before all that is attached at the device; they go with the process.
  ///
  /// Minimum kernel: 6.6.
  case tcx
  /// By clsact and a filter of cls_bpf, behind all TCX programs.
  ///
  /// If the process is killed, the filter stays and passes all frames.
  case clsact
}

/// The program at the device, as long as it is there.
enum DivertHook: ~Copyable, Sendable {
  case link(OwnedDescriptor)
  case gate(DivertGate)

  /// Attaches a program by a link, as long as the descriptor is open.
  static func link(
    _ program: borrowing OwnedDescriptor, to device: UInt32, _ direction: LinkDirection
  ) throws(SystemError) -> OwnedDescriptor {
    try OwnedDescriptor(
      checking: clb_attach_to_device(program.number, device, direction == .outbound),
      operation: "attach to device \(device) by TCX")
  }

  /// Attaches a program to what a helper sends, in the way that is wanted or the first that there
  /// is; returns its link, nil if it hangs by clsact and goes with the helper.
  static func linkHelper(
    _ program: borrowing OwnedDescriptor, _ helper: borrowing TapDevice,
    by wanted: DivertAttachment?
  ) throws(DivertError) -> OwnedDescriptor? {
    if wanted != .clsact {
      do throws(SystemError) {
        return try link(program, to: helper.index, .outbound)
      } catch {
        if wanted == .tcx || error.errno == EPERM { throw .noTCX(device: helper.name, error) }
      }
    }
    var device = LinkDevice(index: helper.index, kind: 1, flags: 0)
    device.name = helper.name
    _ = try ClsactFilter.add(program, to: device, .outbound, helper: helper.index)
    return nil
  }

  /// Takes it away; returns when it has met its last frame.
  consuming func detach() {
    switch consume self {
    case .link(let link):
      // The kernel waits for what runs in it.
      _ = consume link
    case .gate(let gate):
      gate.shut()
      _ = clx_wait_for_receivers()
    }
  }
}
