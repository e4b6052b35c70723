// SPDX-License-Identifier: Apache-2.0

/// Finds the filters that can match a packet without looking at all of them.
///
/// A node holds filters. Each of its branches stands for one field and cuts the field's values into
/// intervals; a filter hangs in the one branch whose field tells it best from its neighbours, on few
/// lists that together cover what it accepts. A packet's value leads to one interval, and that to the
/// lists to look through: each a row of filters in order, or a node of its own if it is long. What
/// no field tells apart is the node's rest.
///
/// ```
/// node ─▶ branch (field) ─▶ interval ─▶ list ─▶ filters in order
///     └─▶ rest                              └─▶ node
/// ```
struct FilterIndex: Sendable {
  struct Node: BitwiseCopyable {
    var firstBranch: Int32 = 0
    var endBranch: Int32 = 0
    var rest: Int32 = -1
    /// How many lists a packet can come to, at most.
    var mostLists: Int32 = 0
  }

  struct Branch: BitwiseCopyable {
    /// Where the packet's value is found.
    var slot: Int32
    /// What is left of a value when it is shifted so is its bucket.
    var shift: UInt8
    var firstInterval: Int32
    var firstBucket: Int32
    var lastBucket: Int32
  }

  struct Interval: BitwiseCopyable {
    var firstList: Int32 = 0
    var endList: Int32 = 0
  }

  struct List: BitwiseCopyable {
    var first: Int32
    var end: Int32
    /// The node that holds the list's filters, -1 if they are to be looked through.
    var node: Int32 = -1
  }

  var nodes: [Node] = []
  var branches: [Branch] = []
  /// The lowest value of each interval.
  var bounds: [UInt128] = []
  /// Beside `bounds`.
  var intervals: [Interval] = []
  /// In which interval of its branch each bucket begins, and where the last one ends.
  var buckets: [Int32] = []
  /// The lists of the intervals.
  var paths: [Int32] = []
  var lists: [List] = []
  /// Where the lists' filters stand in the policy.
  var entries: [Int32] = []

  /// How many filters are looked through one by one rather than split further.
  static let leafSize = 12
}

extension FilterIndex {
  /// Which interval a value lies in.
  @inline(__always)
  func interval(of value: UInt128, _ branch: Branch) -> Int {
    let lastBucket = UInt128(branch.lastBucket &- branch.firstBucket &- 1)
    let bucket = Int(branch.firstBucket) + Int(min(value >> UInt128(branch.shift), lastBucket))
    var low = Int(branch.firstInterval) + Int(buckets[bucket])
    var high = Int(branch.firstInterval) + Int(buckets[bucket + 1])
    while low < high {
      let middle = (low + high + 1) / 2
      if bounds[middle] <= value { low = middle } else { high = middle - 1 }
    }
    return low
  }

  /// Where the first entry is that stands at `position` or behind.
  @inline(__always)
  func entry(from position: Int32, _ cursor: FilterSearch.Cursor) -> Int32 {
    var (next, end) = (cursor.next, cursor.end)
    guard next < end, entries[Int(next)] < position else { return next }
    while next < end {
      let middle = (next + end) / 2
      if entries[Int(middle)] < position { next = middle + 1 } else { end = middle }
    }
    return next
  }
}
