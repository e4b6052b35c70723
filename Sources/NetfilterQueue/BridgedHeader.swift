// SPDX-License-Identifier: Apache-2.0

/// A MAC header as a bridge's queue takes it back: the outermost VLAN tag goes beside it.
public struct BridgedHeader: BitwiseCopyable, Sendable {
  /// The length of `link` in bytes: two addresses and the type behind the tag.
  public static let length = 14
  /// The addresses and the type, in the order of the wire.
  ///
  /// `NFQA_L2HDR`.
  public var link: [14 of UInt8]
  /// The VLAN tag that the frame gets; nil leaves the one that it has beside it, if any.
  ///
  /// Its protocol is in the high half, its control information in the low one. No tag can be taken
  /// away.
  ///
  /// `NFQA_VLAN`.
  public var tag: UInt32?

  /// A header.
  public init(link: [14 of UInt8], tag: UInt32?) {
    self.link = link
    self.tag = tag
  }
}
