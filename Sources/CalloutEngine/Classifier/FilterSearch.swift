// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// What the packet path needs to look filters up: memory that is made before, or when a policy needs
/// more of it.
struct FilterSearch: ~Copyable {
  /// A part of a list that is still to be looked through.
  struct Cursor: BitwiseCopyable {
    var next: Int32
    var end: Int32
  }

  var cursors = FixedArray<Cursor>(capacity: 64)
  /// The packet's values by slot.
  var values = FixedArray<UInt128?>(repeating: nil, count: 64)

  /// Notes what a packet says in the fields that the layer's filters test, and finds the lists to
  /// look through.
  @inline(__always)
  mutating func begin<Subject: Classifiable & ~Copyable & ~Escapable>(
    _ packet: borrowing Subject, _ layer: CompiledPolicy.LayerFilters,
    _ policy: borrowing CompiledPolicy
  ) {
    let mostLists = Int(policy.index.nodes[layer.node].mostLists)
    let slots = layer.endField - layer.firstField
    if cursors.capacity < mostLists || values.count < slots { reserve(mostLists, slots) }
    for slot in 0..<slots {
      values[slot] = packet.value(of: policy.fields[layer.firstField + slot])
    }
    cursors.removeAll()
    descend(layer.node, policy.index)
  }

  /// Makes room; comes to be called when a policy comes that is larger than those before.
  @inline(never)
  private mutating func reserve(_ lists: Int, _ slots: Int) {
    cursors = FixedArray(capacity: max(cursors.capacity, lists))
    values = FixedArray(repeating: nil, count: max(values.count, slots))
  }

  /// Finds the lists to look through for the values at hand.
  mutating func descend(_ node: Int, _ index: borrowing FilterIndex) {
    let node = index.nodes[node]
    if node.rest >= 0 { add(Int(node.rest), index) }
    for number in Int(node.firstBranch)..<Int(node.endBranch) {
      let branch = index.branches[number]
      guard let value = values[Int(branch.slot)] else { continue }
      let interval = index.intervals[index.interval(of: value, branch)]
      for path in Int(interval.firstList)..<Int(interval.endList) {
        add(Int(index.paths[path]), index)
      }
    }
  }

  private mutating func add(_ list: Int, _ index: borrowing FilterIndex) {
    let list = index.lists[list]
    if list.node >= 0 {
      descend(Int(list.node), index)
    } else {
      cursors.append(Cursor(next: list.first, end: list.end))
    }
  }

  /// The first filter at `position` or behind that matches, `end` if none does.
  @inline(__always)
  mutating func next(from position: Int, until end: Int, _ policy: borrowing CompiledPolicy) -> Int
  {
    var best = Int32(truncatingIfNeeded: end)
    let start = Int32(truncatingIfNeeded: position)
    for number in 0..<cursors.count {
      var cursor = cursors[number]
      cursor.next = policy.index.entry(from: start, cursor)
      while cursor.next < cursor.end {
        let candidate = policy.index.entries[Int(cursor.next)]
        guard candidate < best else { break }
        if policy.accepts(values, policy.filters[Int(candidate)]) {
          best = candidate
          break
        }
        cursor.next &+= 1
      }
      cursors[number] = cursor
    }
    return Int(best)
  }
}
