// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// A network device of this thread's network namespace.
public enum NetworkDevice {
  /// Whether the device of that index is there and up.
  ///
  /// `IFF_UP`.
  public static func isUp(_ index: UInt32) -> Bool { clx_is_device_up(index) }

  /// The name of the device of that index, nil if there is none.
  public static func name(_ index: UInt32) -> String? {
    var name = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
    guard unsafe if_indextoname(index, &name) != nil else { return nil }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
