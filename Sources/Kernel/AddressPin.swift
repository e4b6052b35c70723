// SPDX-License-Identifier: Apache-2.0

public import Synchronization

/// Has a struct that holds it passed by address, as an atomic must be.
///
/// Without it the compiler copies a borrowed struct at each call, and a context table is several
/// hundred bytes: that was 50 ns a packet.
public struct AddressPin: ~Copyable {
  @usableFromInline let anchor = Atomic<UInt8>(0)

  /// A pin.
  @inlinable
  public init() {}
}
