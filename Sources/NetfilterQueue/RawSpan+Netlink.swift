// SPDX-License-Identifier: Apache-2.0

// Safe because RawSpan checks each offset against its bounds, and integers have no invalid bits.
extension RawSpan {
  @inline(__always)
  func byte(_ at: Int) -> UInt8 { unsafe unsafeLoad(fromByteOffset: at, as: UInt8.self) }

  @inline(__always)
  func hostUInt16(_ at: Int) -> UInt16 {
    unsafe unsafeLoadUnaligned(fromByteOffset: at, as: UInt16.self)
  }

  @inline(__always)
  func hostUInt32(_ at: Int) -> UInt32 {
    unsafe unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self)
  }

  @inline(__always)
  func hostUInt64(_ at: Int) -> UInt64 {
    unsafe unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
  }

  @inline(__always)
  func bigUInt16(_ at: Int) -> UInt16 { UInt16(bigEndian: hostUInt16(at)) }

  @inline(__always)
  func bigUInt32(_ at: Int) -> UInt32 { UInt32(bigEndian: hostUInt32(at)) }

  @inline(__always)
  func bigUInt64(_ at: Int) -> UInt64 { UInt64(bigEndian: hostUInt64(at)) }

  /// The nested attribute at `cursor`, or nil at the end and where a length is wrong.
  func attribute(_ cursor: Int, _ end: Int) -> (type: UInt16, at: Int, length: Int, next: Int)? {
    guard end &- cursor >= 4 else { return nil }
    let length = Int(hostUInt16(cursor))
    guard length >= 4, length <= end &- cursor else { return nil }
    return (
      hostUInt16(cursor &+ 2) & 0x3fff, cursor &+ 4, length &- 4,
      min(end, cursor &+ ((length &+ 3) & ~3))
    )
  }
}
