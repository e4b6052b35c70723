// SPDX-License-Identifier: Apache-2.0

/// Which way frames go through a network device, seen from this host.
public enum LinkDirection: Sendable, Hashable, CaseIterable {
  /// Received by the device.
  ///
  /// `BPF_TCX_INGRESS`.
  case inbound
  /// Sent by the device.
  ///
  /// `BPF_TCX_EGRESS`.
  case outbound
}
