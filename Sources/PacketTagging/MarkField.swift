// SPDX-License-Identifier: Apache-2.0

/// The run of mark bits that is ours, and what its bits mean.
///
/// From the top: injected by this engine, the epoch of this start, then the handle's number.
/// Number 0 is no handle. All other bits of a mark belong to others and are never changed.
public struct MarkField: Sendable, Hashable, BitwiseCopyable {
  /// The narrowest field that makes sense, in bits.
  public static let minimumBits = 8
  /// The widest field, in bits.
  public static let maximumBits = 24

  /// Our bits of the mark.
  public let mask: UInt32
  /// Where the field begins, counted from bit 0.
  @usableFromInline let shift: UInt32
  /// How many bits count handles.
  public let handleBits: Int

  /// A field, or nil if `mask` is not one run of 8 to 24 bits.
  public init?(mask: UInt32) {
    let shift = UInt32(mask.trailingZeroBitCount)
    let width = mask.nonzeroBitCount
    guard width >= Self.minimumBits, width <= Self.maximumBits,
      mask >> shift == (1 << UInt32(width)) &- 1
    else { return nil }
    self.mask = mask
    self.shift = shift
    handleBits = width - 2
  }

  /// The bit that says "injected by this engine".
  @inlinable @inline(__always)
  public var injectedBit: UInt32 { 1 &<< (shift &+ UInt32(truncatingIfNeeded: handleBits) &+ 1) }

  @inlinable @inline(__always)
  package var epochBit: UInt32 { 1 &<< (shift &+ UInt32(truncatingIfNeeded: handleBits)) }

  @inlinable @inline(__always)
  package var numberMask: UInt32 { (1 &<< UInt32(truncatingIfNeeded: handleBits)) &- 1 }

  /// The handle number in a mark, 0 if there is none of this epoch.
  @inlinable @inline(__always)
  package func number(in mark: UInt32, epoch: Bool) -> UInt32 {
    let number = mark &>> shift & numberMask
    return number != 0 && (mark & epochBit != 0) == epoch ? number : 0
  }

  /// `mark` with our field replaced, all other bits as they were.
  @inlinable @inline(__always)
  package func mark(_ mark: UInt32, bearing number: UInt32, epoch: Bool, injected: Bool = false)
    -> UInt32
  {
    var field: UInt32 = 0
    if number != 0 { field = (number & numberMask) &<< shift | (epoch ? epochBit : 0) }
    if injected { field |= injectedBit }
    return mark & ~mask | field
  }
}
