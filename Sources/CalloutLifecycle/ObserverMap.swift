// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF
internal import Kernel

/// What the programs write: arrays of the kernel, indexed by handle.
enum ObserverMap {
  /// How many handles there can be; a power of two.
  static let capacity = 1 << 20

  /// The descriptor of a new one.
  static func make<Element>(
    _ name: String, of type: Element.Type
  ) throws(SystemError) -> OwnedDescriptor {
    try OwnedDescriptor(
      checking: unsafe clb_make_array(
        name, UInt32(MemoryLayout<Element>.stride), UInt32(capacity)),
      operation: "make a BPF map")
  }
}
