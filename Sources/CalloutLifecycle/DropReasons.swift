// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF

/// Why a kernel drops packets: the names of its numbers, which change from kernel to kernel.
///
/// Corresponds to `enum skb_drop_reason`.
public struct DropReasons: Sendable {
  private var names: [UInt32: String] = [:]

  /// Those of the running kernel, from its BTF; none where it has none.
  public static let ofKernel = {
    var reasons = DropReasons()
    _ = unsafe withUnsafeMutablePointer(to: &reasons) { reasons in
      unsafe clb_each_enumerator("skb_drop_reason", reasons) { context, value, name in
        guard let context = unsafe context, let name = unsafe name else { return }
        let reasons = unsafe context.assumingMemoryBound(to: DropReasons.self)
        unsafe reasons.pointee.add(String(cString: name), value)
      }
    }
    return reasons
  }()

  /// For example `NETFILTER_DROP`; the number itself where the kernel does not name it.
  public func name(of number: UInt32) -> String { names[number] ?? "\(number)" }

  /// The number of a reason, nil where the kernel has none of that name.
  public func number(of name: String) -> UInt32? { names.first { $0.value == name }?.key }

  private mutating func add(_ name: String, _ number: UInt32) {
    for prefix in ["SKB_DROP_REASON_", "SKB_"] where name.hasPrefix(prefix) {
      names[number] = String(name.dropFirst(prefix.count))
      return
    }
    names[number] = name
  }
}
