// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The kernel's functions by their addresses, from /proc/kallsyms.
public enum KernelSymbols {
  /// The function that holds an address, as `nf_hook_slow+0xb6`; nil where it cannot be told, as
  /// without CAP_SYSLOG.
  ///
  /// Of the address its low half is enough: the kernel's code lies in 4 GiB, and `_stext` is in them.
  /// Reads a file of some megabytes, so keep what it returns.
  public static func name(near place: UInt32) -> String? {
    name(near: place, in: "/proc/kallsyms")
  }

  static func name(near place: UInt32, in path: String) -> String? {
    var found = clx_symbol()
    guard unsafe clx_find_symbol(path, place, &found) else { return nil }
    let name = unsafe withUnsafeBytes(of: &found.name) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return "\(name)+0x\(String(place - found.address, radix: 16))"
  }
}
