// SPDX-License-Identifier: Apache-2.0

public import Synchronization

/// A bounded ring from one writing thread to one reading thread, without locks or allocation.
///
/// The writer owns `push`, the reader owns `pop`; the ring cannot check that.
@safe
public final class EventRing<Element: BitwiseCopyable>: @unchecked Sendable {
  // @unchecked: the cells between `head` and `tail` belong to the reader, the others to the writer.
  @usableFromInline let cells: UnsafeMutablePointer<Element>
  @usableFromInline let mask: Int
  @usableFromInline let head = Atomic<Int>(0)
  @usableFromInline let tail = Atomic<Int>(0)

  /// A ring of at least `capacity` elements (rounded up to a power of two).
  public init(capacity: Int) {
    var size = 2
    while size < capacity { size *= 2 }
    mask = size - 1
    unsafe cells = .allocate(capacity: size)
  }

  deinit { unsafe cells.deallocate() }

  /// Writes one element; false if the ring is full.
  ///
  /// Writing thread only.
  @inlinable
  public func push(_ element: Element) -> Bool {
    let position = tail.load(ordering: .relaxed)
    guard position &- head.load(ordering: .acquiring) <= mask else { return false }
    unsafe (cells + (position & mask)).initialize(to: element)
    tail.store(position &+ 1, ordering: .releasing)
    return true
  }

  /// The oldest element without taking it.
  ///
  /// Reading thread only.
  @inlinable
  public func peek() -> Element? {
    let position = head.load(ordering: .relaxed)
    guard position != tail.load(ordering: .acquiring) else { return nil }
    return unsafe cells[position & mask]
  }

  /// Takes the oldest element.
  ///
  /// Reading thread only.
  @inlinable
  public func pop() -> Element? {
    let position = head.load(ordering: .relaxed)
    guard position != tail.load(ordering: .acquiring) else { return nil }
    let element = unsafe cells[position & mask]
    head.store(position &+ 1, ordering: .releasing)
    return element
  }

  /// How many elements wait.
  public var count: Int {
    tail.load(ordering: .acquiring) &- head.load(ordering: .acquiring)
  }
}
