// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// Where a filter stands among those of its layer: the smallest place is asked first.
struct FilterPlace: Comparable {
  /// Of its sublayer, see ``FilterPolicy/sublayerRanks``.
  let rank: Int
  let weight: UInt64
  /// Its number in the policy.
  let index: Int

  /// By sublayer, then weight; equal weights keep the policy's order.
  static func < (left: Self, right: Self) -> Bool {
    (left.rank, right.weight, left.index) < (right.rank, left.weight, right.index)
  }
}

extension FilterPolicy {
  /// The place of each sublayer, by name: the heaviest is asked first.
  var sublayerRanks: [String: Int] {
    var weights = ["default": UInt16(0x8000)]
    for sublayer in sublayers { weights[sublayer.name] = sublayer.weight }
    let names = weights.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
    return Dictionary(uniqueKeysWithValues: zip(names, names.indices))
  }

  /// The places of these filters in ascending order, without those that name no sublayer.
  func sortedPlaces(of indices: [Int], _ ranks: [String: Int]) -> [FilterPlace] {
    indices.compactMap { index in
      let filter = filters[index]
      return ranks[filter.sublayer].map {
        FilterPlace(rank: $0, weight: filter.effectiveWeight, index: index)
      }
    }.sorted()
  }

  /// The enabled filters of each layer by number: sublayers and filters in the order in which they
  /// are asked.
  package var order: [Layer: [[Int]]] {
    let ranks = sublayerRanks
    let enabled = filters.indices.filter { !filters[$0].flags.contains(.disabled) }
    return Dictionary(grouping: enabled, by: { filters[$0].layer }).mapValues { indices in
      let places = sortedPlaces(of: indices, ranks)
      return Dictionary(grouping: places, by: \.rank).sorted { $0.key < $1.key }
        .map { $0.value.map(\.index) }
    }
  }
}
