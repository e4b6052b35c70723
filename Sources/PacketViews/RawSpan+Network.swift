// SPDX-License-Identifier: Apache-2.0

extension RawSpan {
  /// The byte at `offset`, or nil when it is not in the span.
  @inlinable
  public func loadByte(at offset: Int) -> UInt8? {
    guard offset >= 0, offset < byteCount else { return nil }
    // Safe because the offset was checked against the span.
    return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt8.self)
  }

  /// The 16-bit network-order integer at `offset` in host order, or nil when it does not fit.
  @inlinable
  public func loadBigEndian16(at offset: Int) -> UInt16? {
    guard offset >= 0, offset <= byteCount &- 2 else { return nil }
    return unsafe UInt16(
      bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt16.self))
  }

  /// The 32-bit network-order integer at `offset` in host order, or nil when it does not fit.
  @inlinable
  public func loadBigEndian32(at offset: Int) -> UInt32? {
    guard offset >= 0, offset <= byteCount &- 4 else { return nil }
    return unsafe UInt32(
      bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt32.self))
  }

  /// The 64-bit network-order integer at `offset` in host order, or nil when it does not fit.
  @inlinable
  public func loadBigEndian64(at offset: Int) -> UInt64? {
    guard offset >= 0, offset <= byteCount &- 8 else { return nil }
    return unsafe UInt64(
      bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self))
  }

  /// The byte at `offset`; 0 outside the span, for views that checked their length once.
  @inlinable @inline(__always)
  public func byte(at offset: Int) -> UInt8 { loadByte(at: offset) ?? 0 }

  /// The 16-bit integer at `offset` in host order; 0 where it does not fit.
  @inlinable @inline(__always)
  public func bigEndian16(at offset: Int) -> UInt16 { loadBigEndian16(at: offset) ?? 0 }

  /// The 32-bit integer at `offset` in host order; 0 where it does not fit.
  @inlinable @inline(__always)
  public func bigEndian32(at offset: Int) -> UInt32 { loadBigEndian32(at: offset) ?? 0 }

  /// The 64-bit integer at `offset` in host order; 0 where it does not fit.
  @inlinable @inline(__always)
  public func bigEndian64(at offset: Int) -> UInt64 { loadBigEndian64(at: offset) ?? 0 }

  /// The part from `offset`, `length` bytes long, cut to what the span holds; never traps.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func slice(from offset: Int, length: Int = .max) -> RawSpan {
    let start = Swift.min(Swift.max(offset, 0), byteCount)
    let count = Swift.min(Swift.max(length, 0), byteCount &- start)
    // Safe because both ends were cut to the span.
    return unsafe extracting(unchecked: Range(uncheckedBounds: (start, start &+ count)))
  }

  /// The sum of the span's 32-bit words as they lie in memory, the last one padded with zeros.
  ///
  /// Folded to 16 bits and swapped to network order this is the sum of RFC 1071.
  @inlinable
  func sumOfNativeWords() -> UInt64 {
    var sum: UInt64 = 0
    var offset = 0
    // Safe because every load lies before `wordEnd`; four gigabytes are needed to overflow.
    let wordEnd = byteCount & ~3
    while offset < wordEnd {
      sum &+= unsafe UInt64(
        unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt32.self))
      offset &+= 4
    }
    var tail: UInt32 = 0
    var shift: UInt32 = 24
    while offset < byteCount {
      tail |= UInt32(truncatingIfNeeded: byte(at: offset)) << shift
      shift &-= 8
      offset &+= 1
    }
    return sum &+ UInt64(UInt32(bigEndian: tail))
  }

  /// Whether both spans hold the same bytes.
  @inlinable
  public func isEqual(to other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    var offset = 0
    while offset < byteCount {
      if byte(at: offset) != other.byte(at: offset) { return false }
      offset &+= 1
    }
    return true
  }
}

extension Span where Element == UInt8 {
  /// The same bytes as a `RawSpan`, which the packet views read.
  @inlinable
  public var packetBytes: RawSpan {
    // Safe because every byte of a `UInt8` element is initialised.
    @_lifetime(copy self) get { unsafe bytes }
  }
}
