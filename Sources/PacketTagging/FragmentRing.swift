// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// The fragments that were tagged last, by what those of one packet have in common.
struct FragmentRing: ~Copyable {
  struct Element: BitwiseCopyable {
    var key: UInt32 = 0
    var slot: UInt32 = 0
    /// The fragment's id in its queue: a slot may have been used again.
    var packetID: UInt32 = 0
  }

  static let capacity = 256
  private var elements = FixedArray<Element>(repeating: Element(), count: capacity)
  private var next = 0

  mutating func note(_ element: Element) {
    elements[next] = element
    next = (next + 1) % Self.capacity
  }

  /// The last key noted for a slot, 0 if none.
  func key(of slot: UInt32, _ packetID: UInt32) -> UInt32 {
    for index in 0..<Self.capacity
    where elements[index].slot == slot && elements[index].packetID == packetID {
      return elements[index].key
    }
    return 0
  }

  subscript(index: Int) -> Element { elements[index] }
}

// Fragments that the kernel puts together: the first one's mark stays on the whole packet, the others
// end in it.
extension ContextTable {
  /// Tells that the fragment of this slot has become the whole packet, and ends those that were merged
  /// into it.
  mutating func reassemble(_ slot: Int, layer: UInt16) {
    let key = fragments.key(of: UInt32(truncatingIfNeeded: slot), entries[slot].lastID)
    entries[slot].isFragment = false
    emitForAll(.reassemblyComplete, slot, .observed, layer: layer)
    guard key != 0 else { return }
    for index in 0..<FragmentRing.capacity where fragments[index].key == key {
      let other = Int(fragments[index].slot)
      guard other != slot, entries[other].isLive, entries[other].isFragment,
        entries[other].lastID == fragments[index].packetID, entries[other].waiting == 0,
        entries[other].count(.sharer) == 0
      else { continue }
      emitForAll(.reassembledFragment, other, .observed, layer: layer)
      entries[other].roaming = 0
      entries[other].isFragment = false
      end(other, .reassembled, .observed, layer: layer)
    }
  }
}
