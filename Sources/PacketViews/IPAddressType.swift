// SPDX-License-Identifier: Apache-2.0

/// Whom an address names, as far as its bits tell.
///
/// Mirrors `NL_ADDRESS_TYPE`. What only a routing table knows counts as unicast: directed broadcasts
/// such as 10.0.0.255, and anycast addresses.
public enum IPAddressType: UInt8, Sendable, BitwiseCopyable {
  /// Nobody: 0.0.0.0 or ::.
  case unspecified = 0
  /// One host.
  case unicast = 1
  /// The nearest of several hosts; never told.
  case anycast = 2
  /// A group.
  case multicast = 3
  /// All hosts of the network: 255.255.255.255.
  case broadcast = 4
  /// No valid address; never told.
  case invalid = 5
}

extension IPAddress {
  /// Whom the address names.
  public var type: IPAddressType {
    if isUnspecified { return .unspecified }
    if isMulticast { return .multicast }
    return version == .v4 && low == 0xffff_ffff ? .broadcast : .unicast
  }
}
