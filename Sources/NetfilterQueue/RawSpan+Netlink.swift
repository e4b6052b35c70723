// SPDX-License-Identifier: Apache-2.0

// Safe because each offset is checked against the bounds, and integers have no invalid bits.
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

  /// Type and value of the attribute at `cursor` and how many bytes it takes, padding included; nil
  /// where it does not end before `end`, which must lie in the span.
  @inline(__always)
  @_lifetime(copy self)
  func attribute(at cursor: Int, before end: Int) -> NetlinkAttribute? {
    let room = end &- cursor
    guard cursor >= 0, room >= 4 else { return nil }
    // Safe because what is read lies before `end`; checked again, each load would cost as much more.
    let length = unsafe Int(
      unsafeLoadUnaligned(fromUncheckedByteOffset: cursor, as: UInt16.self))
    let type = unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: cursor &+ 2, as: UInt16.self)
    guard length >= 4, length <= room else { return nil }
    let value = unsafe extracting(
      unchecked: Range(uncheckedBounds: (cursor &+ 4, cursor &+ length)))
    return NetlinkAttribute(
      type: UInt32(type & 0x3fff), value: value, paddedLength: (length &+ 3) & ~3)
  }
}

/// One attribute of a netlink message.
struct NetlinkAttribute: ~Escapable {
  let type: UInt32
  let value: RawSpan
  let paddedLength: Int

  @inline(__always)
  @_lifetime(copy value)
  init(type: UInt32, value: RawSpan, paddedLength: Int) {
    self.type = type
    self.value = value
    self.paddedLength = paddedLength
  }
}
