// SPDX-License-Identifier: Apache-2.0

/// A first-in first-out ring of slots with the time at which each was put in.
///
/// Never grows.
@usableFromInline
struct IndexRing {
  @usableFromInline
  struct Element: BitwiseCopyable {
    @usableFromInline var slot: UInt32
    @usableFromInline var milliseconds: UInt32
  }

  @usableFromInline var elements: [Element] = []
  @usableFromInline var head = 0
  @usableFromInline private(set) var count = 0
  private let capacity: Int
  /// Positions in use; doubles when they are full, so that the touched memory follows the load.
  private var span: Int

  init(capacity: Int) {
    self.capacity = capacity
    span = min(capacity, 4096)
    // Reserved, not filled: memory becomes resident only as far as handles are used.
    elements.reserveCapacity(capacity)
  }

  var first: Element? { count == 0 ? nil : elements[head] }

  /// Each slot is in the ring at most once, so there is always room.
  mutating func append(_ slot: UInt32, at nanoseconds: UInt64) {
    guard count < capacity else { return }
    if count == span { widen() }
    let element = Element(
      slot: slot, milliseconds: UInt32(truncatingIfNeeded: nanoseconds / 1_000_000))
    var position = head + count
    if position >= span { position -= span }
    if position == elements.count {
      elements.append(element)
    } else {
      elements[position] = element
    }
    count += 1
  }

  mutating func removeFirst() {
    head += 1
    count -= 1
    // Starting over from an empty ring keeps the touched memory as small as the load allows.
    if count == 0 || head == span { head = 0 }
  }

  /// Makes room in a full ring: brings the first element to the beginning and doubles the span.
  private mutating func widen() {
    reverse(0, head)
    reverse(head, elements.count)
    reverse(0, elements.count)
    head = 0
    span = min(capacity, span * 2)
  }

  private mutating func reverse(_ from: Int, _ to: Int) {
    var (low, high) = (from, to - 1)
    while low < high {
      elements.swapAt(low, high)
      low += 1
      high -= 1
    }
  }
}
