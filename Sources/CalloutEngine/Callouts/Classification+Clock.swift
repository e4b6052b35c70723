// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging

extension Classification {
  /// CLOCK_MONOTONIC in nanoseconds, read once for each batch of packets.
  public var now: UInt64 { contexts.now }

  /// Leaves the decision to later filters, or permits where the filter must have one.
  mutating func goOn() {
    if mustDecide { permit() } else { `continue`() }
  }
}
