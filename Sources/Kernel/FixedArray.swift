// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// An array with memory of its own that never grows past its capacity and is never shared.
///
/// Unlike `Array` it costs no check for other owners at each change. Memory becomes resident as it
/// is filled.
@safe
public struct FixedArray<Element: BitwiseCopyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Sendable because nothing but this value, which cannot be copied, knows the address.
  @usableFromInline let base: UnsafeMutablePointer<Element>
  /// How many elements there is room for.
  public let capacity: Int
  /// How many elements there are.
  @inlinable public var count: Int { filled }
  @usableFromInline var filled = 0

  /// An empty array.
  public init(capacity: Int) {
    self.capacity = max(capacity, 0)
    let bytes = max(capacity, 1) * MemoryLayout<Element>.stride
    let isLarge = bytes >= 2 * Self.hugePage
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: bytes, alignment: isLarge ? Self.hugePage : 64)
    // Walking the page tables would cost more than the access itself.
    if isLarge { _ = unsafe madvise(memory, bytes, MADV_HUGEPAGE) }
    unsafe base = memory.bindMemory(to: Element.self, capacity: max(capacity, 1))
  }

  /// An array of `count` equal elements.
  public init(repeating element: Element, count: Int) {
    self.init(capacity: count)
    unsafe base.initialize(repeating: element, count: capacity)
    filled = capacity
  }

  private static var hugePage: Int { 2 << 20 }

  deinit { unsafe base.deallocate() }

  /// Adds an element; false if there is no room.
  @inlinable
  @discardableResult
  public mutating func append(_ element: Element) -> Bool {
    guard filled < capacity else { return false }
    unsafe (base + filled).initialize(to: element)
    filled &+= 1
    return true
  }

  /// Empties the array; its memory stays.
  @inlinable
  public mutating func removeAll() { filled = 0 }

  /// Has the element at `index`, if there is one, brought into the cache for a change that is near.
  @inlinable
  public func prefetch(_ index: Int) {
    guard index >= 0, index < filled else { return }
    unsafe prefetchForChange(base + index)
  }

  /// The element at `index`, which must be below `count`.
  @inlinable
  public subscript(index: Int) -> Element {
    @inline(__always)
    unsafeAddress {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: filled))
      return unsafe UnsafePointer(base + index)
    }
    @inline(__always)
    unsafeMutableAddress {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: filled))
      return unsafe base + index
    }
  }
}

/// Apart, as what is inlined elsewhere cannot name a C function.
@usableFromInline
func prefetchForChange(_ address: UnsafeRawPointer) { unsafe clx_prefetch(address) }
