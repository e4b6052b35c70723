// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Memory that is shared with the kernel: an array map of BPF, or anonymous memory in tests.
@safe
public final class SharedArray<Element: BitwiseCopyable & Sendable>: @unchecked Sendable {
  // Sendable because the address never changes; what is read there may be half-written, and whoever
  // reads it has to live with that.
  private let base: UnsafeMutablePointer<Element>
  private let count: Int
  private let bytes: Int

  /// Maps `count` elements of a descriptor.
  public init(mapping descriptor: borrowing OwnedDescriptor, count: Int) throws(SystemError) {
    unsafe (base, bytes) = try unsafe Self.map(descriptor.number, MAP_SHARED, count)
    self.count = count
  }

  /// New memory filled with zeros.
  public init(count: Int) throws(SystemError) {
    unsafe (base, bytes) = try unsafe Self.map(-1, MAP_SHARED | MAP_ANONYMOUS, count)
    self.count = count
  }

  deinit { unsafe munmap(base, bytes) }

  /// A way to the elements that the caller goes on holding.
  public var view: SharedView<Element> { unsafe SharedView(base: base, count: count) }

  private static func map(
    _ descriptor: CInt, _ flags: CInt, _ count: Int
  ) throws(SystemError) -> (UnsafeMutablePointer<Element>, Int) {
    let page = Int(getpagesize())
    let bytes = (max(count, 1) * MemoryLayout<Element>.stride + page - 1) / page * page
    let address = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw .current("map shared memory")
    }
    return unsafe (address.bindMemory(to: Element.self, capacity: count), bytes)
  }
}

/// A way to the elements of a `SharedArray`, used without counting references.
///
/// Whoever makes one promises to hold the array as long as the view is used.
@safe
public struct SharedView<Element: BitwiseCopyable & Sendable>: BitwiseCopyable, @unchecked Sendable
{
  // Sendable as the array is.
  @usableFromInline let base: UnsafeMutablePointer<Element>
  /// How many elements there are.
  public let count: Int

  @unsafe
  init(base: UnsafeMutablePointer<Element>, count: Int) {
    unsafe self.base = base
    self.count = count
  }

  /// The element at `index`, which must be below `count`.
  @inlinable
  public subscript(index: Int) -> Element {
    get {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
      return unsafe base[index]
    }
    // In place: other parts of the element may be written by the kernel meanwhile.
    nonmutating _modify {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
      yield unsafe &base[index]
    }
  }
}
