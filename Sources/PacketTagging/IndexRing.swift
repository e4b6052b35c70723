// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// A first-in first-out ring of slots with the time at which each was put in.
///
/// Never grows.
struct IndexRing: ~Copyable {
  struct Element: BitwiseCopyable {
    var slot: UInt32
    var milliseconds: UInt32
  }

  private(set) var elements: FixedArray<Element>
  private var head = 0
  private(set) var count = 0
  private let capacity: Int
  /// Positions in use; doubles when they are full, so that the touched memory follows the load.
  private var span: Int

  init(capacity: Int) {
    self.capacity = capacity
    span = min(capacity, 4096)
    // Not filled: memory becomes resident only as far as handles are used.
    elements = FixedArray(capacity: capacity)
  }

  var first: Element? { count == 0 ? nil : elements[head] }

  /// The element that comes after `distance` others, if there is one.
  func peek(_ distance: Int) -> Element? {
    guard distance < count else { return nil }
    let position = head &+ distance
    return elements[position < span ? position : position &- span]
  }

  /// Each slot is in the ring at most once, so there is always room.
  @inline(__always)
  mutating func append(_ slot: UInt32, at milliseconds: UInt32) {
    guard count < capacity else { return }
    if count == span { widen() }
    let element = Element(slot: slot, milliseconds: milliseconds)
    var position = head &+ count
    if position >= span { position &-= span }
    if position == elements.count {
      elements.append(element)
    } else {
      elements[position] = element
    }
    count &+= 1
  }

  @inline(__always)
  mutating func removeFirst() {
    head &+= 1
    count &-= 1
    // Starting over from an empty ring keeps the touched memory as small as the load allows.
    if count == 0 || head == span { head = 0 }
  }

  /// Makes room in a full ring: brings the first element to the beginning and doubles the span.
  @inline(never)
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
      (elements[low], elements[high]) = (elements[high], elements[low])
      low += 1
      high -= 1
    }
  }
}
