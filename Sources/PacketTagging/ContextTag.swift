// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// What happens to a tag's context when the kernel copies a packet that bears it.
public enum CopyDisposition: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// One association, borne by all copies, ended by the last of them.
  case share = 0
  /// The context goes over to the copy.
  case move = 1
  /// The copy bears nothing; the original keeps the context.
  case detach = 2
}

/// A locally unique 64-bit name under which contexts are put on packets; never zero.
///
/// Mirrors the tag of `FwpsNetBufferListGetTagForContext0`. A tag is never given back.
public struct ContextTag: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
  /// The tag's bits: when the issuer began, a running number, the disposition.
  public let rawValue: UInt64

  /// A tag from its bits, issued or not.
  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// What becomes of the context when the kernel copies the packet.
  @inlinable
  public var disposition: CopyDisposition {
    CopyDisposition(rawValue: UInt8(rawValue & 3)) ?? .share
  }

  /// The running number, from 1.
  @inlinable
  package var number: Int { Int(rawValue >> 2 & 0xff_ffff) }
}

/// Issues tags.
///
/// Any thread may ask.
public final class TagIssuer: Sendable {
  @usableFromInline
  package static let maximumCount = 0xff_fffe
  private let nonce: UInt64
  private let issued = Atomic<Int>(0)

  /// An issuer whose tags no other issuer of this boot makes.
  public init() {
    var generator = SystemRandomNumberGenerator()
    nonce = (generator.next() | 1 << 63) & ~0x3ff_ffff
  }

  /// A new tag, or nil after 16 million of them.
  ///
  /// Mirrors `FwpsNetBufferListGetTagForContext0`.
  public func makeTag(onCopy disposition: CopyDisposition = .share) -> ContextTag? {
    let number = issued.add(1, ordering: .relaxed).newValue
    guard number <= Self.maximumCount else { return nil }
    return ContextTag(rawValue: nonce | UInt64(number) << 2 | UInt64(disposition.rawValue))
  }

  /// Whether this issuer made the tag.
  package func hasIssued(_ tag: ContextTag) -> Bool {
    tag.rawValue & ~0x3ff_ffff == nonce && tag.number >= 1
      && tag.number <= issued.load(ordering: .relaxed)
      && tag.rawValue & 3 != 3
  }
}
