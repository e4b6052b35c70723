// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import Synchronization

/// Integers in memory that is shared with programs inside the kernel, each read and changed whole.
///
/// The one element of an array map of BPF, `BPF_F_MMAPABLE`.
@safe
public final class SharedCells: @unchecked Sendable {
  // Sendable because the address never changes, and what is there is only used atomically.
  private let base: UnsafeMutablePointer<Atomic<UInt64>>
  private let count: Int
  private let bytes: Int

  /// Maps `count` cells of a descriptor.
  public init(mapping descriptor: borrowing OwnedDescriptor, count: Int) throws(SystemError) {
    let page = Int(getpagesize())
    let bytes = (max(count, 1) * MemoryLayout<UInt64>.stride + page - 1) / page * page
    let address = unsafe mmap(
      nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.number, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw .current("map shared memory")
    }
    unsafe base = address.bindMemory(to: Atomic<UInt64>.self, capacity: count)
    self.count = count
    self.bytes = bytes
  }

  deinit { unsafe munmap(base, bytes) }

  /// The cell at `index`, which must be below the count.
  public func load(_ index: Int) -> UInt64 {
    precondition(index >= 0 && index < count)
    return unsafe base[index].load(ordering: .acquiring)
  }

  /// Replaces the cell at `index`; what was written before is seen by whoever reads it.
  public func store(_ value: UInt64, at index: Int) {
    precondition(index >= 0 && index < count)
    unsafe base[index].store(value, ordering: .releasing)
  }

  /// Adds to the cell at `index`, modulo 2⁶⁴.
  public func add(_ value: UInt64, to index: Int) {
    precondition(index >= 0 && index < count)
    _ = unsafe base[index].wrappingAdd(value, ordering: .acquiringAndReleasing)
  }
}
