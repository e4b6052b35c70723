// SPDX-License-Identifier: Apache-2.0

extension MutableRawSpan {
  /// Stores one byte at `offset`; false, with nothing changed, when it is not in the span.
  @inlinable
  @_lifetime(self: copy self)
  @discardableResult
  public mutating func storeByte(_ value: UInt8, at offset: Int) -> Bool {
    guard offset >= 0, offset < byteCount else { return false }
    // Safe because the offset was checked against the span.
    unsafe storeBytes(of: value, toUncheckedByteOffset: offset, as: UInt8.self)
    return true
  }

  /// Stores 16 bits in network order; false, with nothing changed, when they do not fit.
  @inlinable
  @_lifetime(self: copy self)
  @discardableResult
  public mutating func storeBigEndian16(_ value: UInt16, at offset: Int) -> Bool {
    guard offset >= 0, offset <= byteCount &- 2 else { return false }
    unsafe storeBytes(of: value.bigEndian, toUncheckedByteOffset: offset, as: UInt16.self)
    return true
  }

  /// Stores 32 bits in network order; false, with nothing changed, when they do not fit.
  @inlinable
  @_lifetime(self: copy self)
  @discardableResult
  public mutating func storeBigEndian32(_ value: UInt32, at offset: Int) -> Bool {
    guard offset >= 0, offset <= byteCount &- 4 else { return false }
    unsafe storeBytes(of: value.bigEndian, toUncheckedByteOffset: offset, as: UInt32.self)
    return true
  }

  /// Stores 64 bits in network order; false, with nothing changed, when they do not fit.
  @inlinable
  @_lifetime(self: copy self)
  @discardableResult
  public mutating func storeBigEndian64(_ value: UInt64, at offset: Int) -> Bool {
    guard offset >= 0, offset <= byteCount &- 8 else { return false }
    unsafe storeBytes(of: value.bigEndian, toUncheckedByteOffset: offset, as: UInt64.self)
    return true
  }

  /// Copies all of `source` to `offset`; false, with nothing changed, when it does not fit.
  @inlinable
  @_lifetime(self: copy self)
  @discardableResult
  public mutating func copyBytes(_ source: RawSpan, to offset: Int) -> Bool {
    let count = source.byteCount
    guard offset >= 0, count <= byteCount, offset <= byteCount &- count else { return false }
    guard count > 0 else { return true }
    // Safe because both ends were checked, and a writable span overlaps no other.
    unsafe withUnsafeMutableBytes { target in
      unsafe source.withUnsafeBytes { bytes in
        guard let start = target.baseAddress, let from = bytes.baseAddress else { return }
        unsafe (start + offset).copyMemory(from: from, byteCount: count)
      }
    }
    return true
  }
}

extension MutableSpan where Element == UInt8 {
  /// The span's bytes for writing in place, which the packet edits work on.
  @inlinable
  public var mutablePacketBytes: MutableRawSpan {
    // Safe because every bit pattern is a `UInt8`.
    @_lifetime(&self) mutating get { unsafe mutableBytes }
  }
}
