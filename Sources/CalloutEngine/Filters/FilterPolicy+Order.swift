// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

extension FilterPolicy {
  /// The enabled filters of each layer by number: sublayers and filters in the order in which they
  /// are asked.
  package var order: [Layer: [[Int]]] {
    var weights = ["default": UInt16(0x8000)]
    for sublayer in sublayers { weights[sublayer.name] = sublayer.weight }
    let enabled = filters.indices.filter { !filters[$0].flags.contains(.disabled) }
    return Dictionary(grouping: enabled, by: { filters[$0].layer }).mapValues { numbers in
      let bands = Dictionary(grouping: numbers, by: { filters[$0].sublayer })
      let sorted = bands.sorted { left, right in
        let (a, b) = (weights[left.key] ?? 0, weights[right.key] ?? 0)
        return a != b ? a > b : left.key < right.key
      }
      return sorted.map { band in
        // Equal weights keep the policy's order.
        band.value.map { (number: $0, weight: filters[$0].effectiveWeight) }
          .sorted { $0.weight != $1.weight ? $0.weight > $1.weight : $0.number < $1.number }
          .map(\.number)
      }
    }
  }
}
