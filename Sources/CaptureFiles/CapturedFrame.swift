// SPDX-License-Identifier: Apache-2.0

/// A frame that somebody captured or wrote down.
public struct CapturedFrame: Sendable, Hashable {
  /// What a frame begins with.
  public enum Form: String, Sendable, Hashable, CaseIterable {
    /// An Ethernet header.
    case ethernet
    /// An IP header, as frames of tun and WireGuard devices do.
    case ip
  }

  /// The whole frame.
  public var bytes: [UInt8]
  /// What it begins with; nil where that was not said.
  public var form: Form?

  /// A frame.
  public init(_ bytes: [UInt8], form: Form? = nil) {
    self.bytes = bytes
    self.form = form
  }
}
