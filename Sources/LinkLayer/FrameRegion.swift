// SPDX-License-Identifier: Apache-2.0

/// Memory of the ring, or beside it, that one frame lies in until its batch is given back.
@safe
struct FrameRegion {
  let base: UnsafeMutableRawPointer
  let capacity: Int

  @unsafe
  init(_ base: UnsafeMutableRawPointer, capacity: Int) {
    unsafe self.base = base
    self.capacity = capacity
  }

  /// Works on the first `count` bytes, or as many as there are.
  @inline(__always)
  func edit<Result>(upTo count: Int = .max, _ body: (inout MutableRawSpan) -> Result) -> Result {
    // Safe because the ring gives a region out once, and the batch uses it one call at a time.
    var span = unsafe MutableRawSpan(
      _unsafeStart: base, byteCount: max(0, min(count, capacity)))
    return body(&span)
  }

  /// A part of it, cut to what there is.
  func part(from start: Int, count: Int) -> UnsafeMutableRawBufferPointer {
    let start = max(0, min(start, capacity))
    return unsafe UnsafeMutableRawBufferPointer(
      start: base + start, count: max(0, min(count, capacity - start)))
  }

  /// Copies the first bytes of another region.
  func copyHead(of other: FrameRegion, count: Int) {
    unsafe base.copyMemory(
      from: other.base, byteCount: max(0, min(count, capacity, other.capacity)))
  }
}
