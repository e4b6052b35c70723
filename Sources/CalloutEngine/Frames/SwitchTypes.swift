// SPDX-License-Identifier: Apache-2.0

/// What stands behind a bridge's port, under the numbers of virtual switches.
///
/// Mirrors `NDIS_SWITCH_NIC_TYPE`.
public enum SwitchInterfaceType: UInt32, Sendable, BitwiseCopyable {
  /// A card, or what is on top of one, by which the bridge reaches other machines.
  case external = 0
  /// A device that software feeds: a tap of a virtual machine, an end of a veth pair.
  case synthetic = 1
  /// A card that a virtual machine's host imitates; never said, Linux does not tell it apart.
  case emulated = 2
  /// The bridge itself, which is its host's port.
  case `internal` = 3
}

/// How far a bridge's frames can go.
///
/// Mirrors `FWP_VSWITCH_NETWORK_TYPE`.
public enum SwitchNetworkType: UInt8, Sendable, BitwiseCopyable {
  /// To the ports only: the bridge itself is down.
  case `private` = 1
  /// To the ports and this host.
  case `internal` = 2
  /// Beyond this host: a port is an external one.
  case external = 3
}
