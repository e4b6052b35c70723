// SPDX-License-Identifier: Apache-2.0

/// Why a tagging call was refused; nothing was changed.
public enum TaggingError: UInt32, Error, Sendable, CaseIterable, BitwiseCopyable,
  CustomStringConvertible
{
  /// The tag was not issued by this engine. `STATUS_INVALID_PARAMETER`.
  case unknownTag = 0xC000_000D
  /// The packet already bears a context under this tag. `STATUS_FWP_ALREADY_EXISTS`.
  case alreadyAssociated = 0xC022_0009
  /// The packet bears four tags. `STATUS_INSUFFICIENT_RESOURCES`.
  case tooManyTags = 0xC000_009A
  /// The packet bears no context under this tag. `STATUS_FWP_NOT_FOUND`.
  case notFound = 0xC022_0008
  /// Flags are reserved and must be zero. `STATUS_FWP_INVALID_FLAGS`.
  case invalidFlags = 0xC022_001E
  /// No packets are indicated at this layer. `STATUS_FWP_INCOMPATIBLE_LAYER`.
  case layerHasNoPackets = 0xC022_0014
  /// Every handle is in use or at rest. `STATUS_QUOTA_EXCEEDED`.
  case handlesExhausted = 0xC000_0044
  /// The policy says `mark: off`. `STATUS_NOT_SUPPORTED`.
  case markOff = 0xC000_00BB
  /// The notify function was never registered. `STATUS_FWP_NULL_POINTER`.
  case unknownNotify = 0xC022_001C
  /// The worker would wait for itself. `STATUS_POSSIBLE_DEADLOCK`.
  case wouldDeadlock = 0xC000_0194

  /// What to do about it.
  public var description: String {
    switch self {
    case .unknownTag: "the tag was not issued by this engine; get one with makeTag"
    case .alreadyAssociated: "the packet already has a context under this tag; remove it first"
    case .tooManyTags: "the packet already bears 4 tags; remove one first"
    case .notFound: "the packet has no context under this tag"
    case .invalidFlags: "flags must be 0"
    case .layerHasNoPackets: "no packets are indicated at this layer, so none can be tagged"
    case .handlesExhausted: "all handles are in use; give a wider mark mask or tag fewer packets"
    case .markOff: "contexts need a mark field; set mark.mask to auto or to a mask"
    case .unknownNotify: "the notify function is not registered; use registerNotify"
    case .wouldDeadlock:
      "the worker's own thread cannot wait for itself; tag in classify, or from another thread"
    }
  }
}
