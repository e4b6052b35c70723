// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A bounded ring of records of different lengths from one writing thread to one reading thread,
/// without locks or allocation by the writer.
///
/// The writer owns `push`, the reader owns `pop`; the ring cannot check that.
@safe
public final class RecordRing<Header: BitwiseCopyable>: @unchecked Sendable {
  // @unchecked: what lies between `head` and `tail` belongs to the reader, the rest to the writer.
  private let base: UnsafeMutableRawPointer
  private let capacity: Int
  private let head = Atomic<Int>(0)
  private let tail = Atomic<Int>(0)

  /// Where a header lies in its record, behind the number of bytes; what records are aligned to.
  private static var unit: Int { 16 }
  /// Stands for a number of bytes where the ring goes on at its beginning.
  private static var wrap: Int { -1 }

  /// A ring of `capacity` bytes (rounded up to a power of two); they become resident as it is filled.
  public init(capacity: Int) {
    var size = 4096
    while size < capacity { size *= 2 }
    self.capacity = size
    unsafe base = .allocate(byteCount: size, alignment: Self.unit)
  }

  deinit { unsafe base.deallocate() }

  /// Writes a header and bytes; false if there is no room.
  ///
  /// Writing thread only.
  public func push(_ header: Header, _ bytes: RawSpan) -> Bool {
    let bodyOffset = Self.unit + MemoryLayout<Header>.stride
    let size = (bodyOffset + bytes.byteCount + Self.unit - 1) / Self.unit * Self.unit
    var position = tail.load(ordering: .relaxed)
    let offset = position & (capacity - 1)
    let gap = offset + size > capacity ? capacity - offset : 0
    guard position + gap + size - head.load(ordering: .acquiring) <= capacity else { return false }
    if gap > 0 {
      unsafe base.storeBytes(of: Self.wrap, toByteOffset: offset, as: Int.self)
      position += gap
    }
    // Safe because the record fits between its offset and the end, and the reader has left it.
    let record = unsafe base + position & (capacity - 1)
    unsafe record.storeBytes(of: bytes.byteCount, as: Int.self)
    unsafe (record + Self.unit).storeBytes(of: header, as: Header.self)
    unsafe bytes.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe (record + bodyOffset).copyMemory(from: start, byteCount: bytes.count)
    }
    tail.store(position + size, ordering: .releasing)
    return true
  }

  /// Takes the oldest record.
  ///
  /// Reading thread only.
  public func pop() -> (header: Header, bytes: [UInt8])? {
    let bodyOffset = Self.unit + MemoryLayout<Header>.stride
    var position = head.load(ordering: .relaxed)
    guard position != tail.load(ordering: .acquiring) else { return nil }
    var record = unsafe base + position & (capacity - 1)
    if unsafe record.load(as: Int.self) == Self.wrap {
      position += capacity - position & (capacity - 1)
      unsafe record = base
    }
    let count = unsafe record.load(as: Int.self)
    let header = unsafe (record + Self.unit).load(as: Header.self)
    let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: record + bodyOffset, count: count))
    let size = (bodyOffset + count + Self.unit - 1) / Self.unit * Self.unit
    head.store(position + size, ordering: .releasing)
    return (header, bytes)
  }
}
