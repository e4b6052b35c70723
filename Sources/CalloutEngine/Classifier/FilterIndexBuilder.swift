// SPDX-License-Identifier: Apache-2.0

/// Builds the index over a policy's filters, off the packet path.
struct FilterIndexBuilder {
  /// What a filter accepts in one field.
  struct Group: BitwiseCopyable {
    var slot: Int32
    /// Bits of the field's largest value.
    var width: UInt8
    /// Its ranges; none if only a mask test can say it.
    var firstRange: Int32
    var endRange: Int32
  }

  /// What the filters of a layer accept, in their order.
  var filterGroups: [Range<Int>] = []
  var groups: [Group] = []
  var ranges: [ValueRange] = []
  var index = FilterIndex()
  /// How many more entries lists may be split into.
  ///
  /// Wide ranges hang on many lists: without a bound such filters would take memory and time out of
  /// proportion.
  private var budget = 0

  /// Where the policy has the layer's first filter.
  private var first: Int32 = 0

  /// Adds the filters of one layer, of which the policy has the first at `first`; gives their node.
  mutating func add(_ first: Int) -> Int {
    self.first = Int32(first)
    budget = 8 * filterGroups.count + 65_536
    return addNode(filterGroups.indices.map { Int32($0) }, without: 0)
  }

  private mutating func addNode(_ filters: [Int32], without used: UInt64) -> Int {
    var best = [Choice](
      repeating: Choice(cost: Double(filters.count) / 2, group: -1), count: filters.count)
    let members = self.members(of: filters, without: used)
    for members in members where !members.isEmpty { weigh(members, &best) }
    var chosen = [[Member]](repeating: [], count: members.count)
    var rest: [Int32] = []
    for (place, filter) in filters.enumerated() {
      let group = best[place].group
      if group >= 0 {
        chosen[Int(groups[Int(group)].slot)].append(Member(filter: filter, group: group))
      } else {
        rest.append(filter)
      }
    }
    var node = FilterIndex.Node()
    if !rest.isEmpty {
      node.rest = Int32(addList(rest))
      node.mostLists = 1
    }
    var branches: [FilterIndex.Branch] = []
    for (slot, members) in chosen.enumerated() where !members.isEmpty {
      let (branch, mostLists) = addBranch(slot, members, used)
      branches.append(branch)
      node.mostLists += mostLists
    }
    node.firstBranch = Int32(index.branches.count)
    index.branches += branches
    node.endBranch = Int32(index.branches.count)
    index.nodes.append(node)
    return index.nodes.count - 1
  }

  private mutating func addList(_ filters: [Int32]) -> Int {
    let first = Int32(index.entries.count)
    index.entries += filters.map { $0 + self.first }
    index.lists.append(FilterIndex.List(first: first, end: Int32(index.entries.count)))
    return index.lists.count - 1
  }

  /// A filter, or its place among others, and what it accepts in one field.
  private struct Member {
    var filter: Int32
    var group: Int32
  }

  /// The field that tells a filter best from others, so far.
  private struct Choice {
    var cost: Double
    var group: Int32
  }

  /// By field, the places of the filters that it could tell apart.
  private func members(of filters: [Int32], without used: UInt64) -> [[Member]] {
    var members: [[Member]] = []
    for (place, filter) in filters.enumerated() {
      for number in filterGroups[Int(filter)] {
        let group = groups[number]
        let slot = Int(group.slot)
        guard group.endRange > group.firstRange, slot < UInt64.bitWidth, used >> slot & 1 == 0
        else { continue }
        while members.count <= slot { members.append([]) }
        members[slot].append(Member(filter: Int32(place), group: Int32(number)))
      }
    }
    return members
  }

  /// How many filters a packet comes to in this field, on average over what each filter accepts.
  private func weigh(_ members: [Member], _ best: inout [Choice]) {
    let cuts = self.cuts(members)
    var changes = [Int](repeating: 0, count: cuts.bounds.count + 1)
    for (first, last) in cuts.spans {
      changes[first] += 1
      changes[last + 1] -= 1
    }
    // Sums over the intervals so far, of the filters that accept each.
    var sums = [0]
    var accepting = 0
    for change in changes.dropLast() {
      accepting += change
      sums.append((sums.last ?? 0) + accepting)
    }
    var span = 0
    for member in members {
      let group = groups[Int(member.group)]
      var (total, count) = (0, 0)
      for _ in group.firstRange..<group.endRange {
        let (first, last) = cuts.spans[span]
        span += 1
        total += sums[last + 1] - sums[first]
        count += last + 1 - first
      }
      let cost = Double(total) / Double(max(count, 1))
      let place = Int(member.filter)
      if cost < best[place].cost { best[place] = Choice(cost: cost, group: member.group) }
    }
  }

  /// A field's values cut wherever a range begins or ends, and which intervals each range covers.
  private func cuts(_ members: [Member]) -> (bounds: [UInt128], spans: [(first: Int, last: Int)]) {
    var bounds: [UInt128] = [0]
    for member in members {
      let group = groups[Int(member.group)]
      for number in group.firstRange..<group.endRange {
        let range = ranges[Int(number)]
        bounds.append(range.low)
        if range.high < .max { bounds.append(range.high + 1) }
      }
    }
    bounds.sort()
    var unique = 1
    for number in 1..<max(bounds.count, 1) where bounds[number] != bounds[unique - 1] {
      bounds[unique] = bounds[number]
      unique += 1
    }
    bounds.removeSubrange(unique...)
    var spans: [(first: Int, last: Int)] = []
    for member in members {
      let group = groups[Int(member.group)]
      for number in group.firstRange..<group.endRange {
        let range = ranges[Int(number)]
        let first = Self.interval(of: range.low, bounds)
        let isOne = first + 1 == bounds.count || bounds[first + 1] > range.high
        spans.append((first, isOne ? first : Self.interval(of: range.high, bounds)))
      }
    }
    return (bounds, spans)
  }

  private static func interval(of value: UInt128, _ bounds: [UInt128]) -> Int {
    var (low, high) = (0, bounds.count - 1)
    while low < high {
      let middle = (low + high + 1) / 2
      if bounds[middle] <= value { low = middle } else { high = middle - 1 }
    }
    return low
  }
}

// MARK: - Branches

extension FilterIndexBuilder {
  /// Hangs filters on the nodes of a binary tree over the field's intervals: each on the few that
  /// together cover what it accepts.
  private mutating func addBranch(
    _ slot: Int, _ members: [Member], _ used: UInt64
  ) -> (branch: FilterIndex.Branch, mostLists: Int32) {
    let cuts = self.cuts(members)
    let count = cuts.bounds.count
    // First how many filters hang on each node, then which.
    var ends = [Int](repeating: 0, count: 2 * count + 1)
    Self.walk(cuts.spans, count) { node, _ in ends[node + 1] += 1 }
    for node in 1..<ends.count { ends[node] += ends[node - 1] }
    let starts = ends
    var hanging = [Int32](repeating: 0, count: ends.last ?? 0)
    let owners = members.flatMap { member in
      repeatElement(
        member.filter,
        count: Int(groups[Int(member.group)].endRange)
          - Int(groups[Int(member.group)].firstRange))
    }
    Self.walk(cuts.spans, count) { node, span in
      hanging[ends[node]] = owners[span]
      ends[node] += 1
    }
    var lists = [Int32](repeating: -1, count: 2 * count)
    for node in 1..<2 * count where ends[node] > starts[node] {
      lists[node] = addSplitList(
        Array(hanging[starts[node]..<ends[node]]), used | 1 << UInt64(slot))
    }
    let first = Int32(index.bounds.count)
    index.bounds += cuts.bounds
    let mostLists = addIntervals(count, lists)
    let (shift, firstBucket) = addBuckets(cuts.bounds, groups[Int(members[0].group)].width)
    return (
      FilterIndex.Branch(
        slot: Int32(slot), shift: shift, firstInterval: first, firstBucket: firstBucket,
        lastBucket: Int32(index.buckets.count - 1)), mostLists
    )
  }

  /// Calls `body` with the tree's nodes that together cover each span of intervals.
  private static func walk(
    _ spans: [(first: Int, last: Int)], _ count: Int, _ body: (_ node: Int, _ span: Int) -> Void
  ) {
    for (number, span) in spans.enumerated() {
      var (left, right) = (span.first + count, span.last + 1 + count)
      while left < right {
        if left & 1 == 1 {
          body(left, number)
          left += 1
        }
        if right & 1 == 1 {
          right -= 1
          body(right, number)
        }
        (left, right) = (left / 2, right / 2)
      }
    }
  }

  private mutating func addSplitList(_ filters: [Int32], _ used: UInt64) -> Int32 {
    let list = addList(filters)
    guard filters.count > FilterIndex.leafSize, filters.count <= budget else { return Int32(list) }
    budget -= filters.count
    let node = addNode(filters, without: used)
    if index.nodes[node].endBranch > index.nodes[node].firstBranch {
      index.lists[list].node = Int32(node)
    }
    return Int32(list)
  }

  /// Adds which lists each interval leads to; gives the most that one does.
  private mutating func addIntervals(_ count: Int, _ lists: [Int32]) -> Int32 {
    var most: Int32 = 0
    for leaf in 0..<count {
      var interval = FilterIndex.Interval(firstList: Int32(index.paths.count), endList: 0)
      var (place, sum) = (leaf + count, Int32(0))
      while place >= 1 {
        let list = lists[place]
        if list >= 0 {
          index.paths.append(list)
          let node = index.lists[Int(list)].node
          sum += node < 0 ? 1 : index.nodes[Int(node)].mostLists
        }
        place /= 2
      }
      interval.endList = Int32(index.paths.count)
      index.intervals.append(interval)
      most = max(most, sum)
    }
    return most
  }

  /// Adds a table by a value's first bits, so that few intervals are left to search.
  private mutating func addBuckets(
    _ bounds: [UInt128], _ width: UInt8
  ) -> (shift: UInt8, first: Int32) {
    let wanted = bounds.count <= 8 ? 0 : Int.bitWidth - bounds.count.leadingZeroBitCount + 1
    let bits = min(Int(width), wanted, 16)
    let shift = Int(width) - bits
    let first = Int32(index.buckets.count)
    var interval = 0
    for bucket in 0..<(1 << bits) {
      let lowest = UInt128(bucket) << UInt128(shift)
      while interval + 1 < bounds.count, bounds[interval + 1] <= lowest { interval += 1 }
      index.buckets.append(Int32(interval))
    }
    index.buckets.append(Int32(bounds.count - 1))
    return (UInt8(shift), first)
  }
}
