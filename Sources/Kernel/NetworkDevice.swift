// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A network device of this thread's network namespace.
public enum NetworkDevice {
  /// Whether the device of that index is there and up.
  ///
  /// `IFF_UP`.
  public static func isUp(_ index: UInt32) -> Bool { clx_is_device_up(index) }
}
