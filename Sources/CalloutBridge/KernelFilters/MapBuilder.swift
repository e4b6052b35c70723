// SPDX-License-Identifier: Apache-2.0

internal import FirewallRules

/// Puts boxes, the most important first, into a row of maps of disjoint boxes.
///
/// The first map in which a packet has a box gives the answer that the first matching box would: a
/// box stands in a map behind all those that hold an overlapping box which came before it.
struct MapBuilder {
  /// A map that is being filled.
  private struct Open {
    var map: KernelMap
    let isExact: Bool
    /// The keys of an exact map.
    var keys: Set<[ClosedRange<UInt128>]> = []
  }

  private var open: [Open] = []
  /// Comparisons of boxes that may still be made.
  private var patience: Int
  /// Whether the boxes came to more than the kernel should be given.
  private(set) var isTooMuch = false

  /// Elements of one row.
  static let mostElements = 1 << 18
  private var elements = 0

  /// Maps of one row: a packet that matches nothing is looked up in each.
  static let mostMaps = 48

  /// A row without maps; `patience` bounds the work.
  init(patience: Int = 100_000_000) { self.patience = patience }

  /// The maps, in the order in which they are to be asked.
  var maps: [KernelMap] { open.map(\.map) }

  /// Adds the next box, as one element in `fields`.
  mutating func add(_ fields: [KernelField], _ element: KernelElement) {
    guard !isTooMuch else { return }
    var place = 0
    for (index, held) in open.enumerated().reversed() {
      switch overlap(held, fields, element) {
      case .none: continue
      case .covered: return
      case .partial: place = index + 1
      }
      break
    }
    let isExact = element.ranges.allSatisfy { $0.lowerBound == $0.upperBound }
    let slot = open.indices.dropFirst(place).first {
      open[$0].isExact == isExact && open[$0].map.fields == fields
    }
    if let slot {
      open[slot].map.elements.append(element)
      if isExact { open[slot].keys.insert(element.ranges) }
    } else {
      open.append(
        Open(
          map: KernelMap(fields: fields, elements: [element]), isExact: isExact,
          keys: isExact ? [element.ranges] : []))
    }
    elements += 1
    if patience < 0 || open.count > Self.mostMaps || elements > Self.mostElements {
      isTooMuch = true
    }
  }

  private enum Overlap { case none, partial, covered }

  /// How the boxes of a map lie to a new one.
  private mutating func overlap(
    _ held: Open, _ fields: [KernelField], _ element: KernelElement
  ) -> Overlap {
    if held.isExact, held.map.fields == fields,
      element.ranges.allSatisfy({ $0.lowerBound == $0.upperBound })
    {
      return held.keys.contains(element.ranges) ? .covered : .none
    }
    patience -= held.map.elements.count
    // Where in the new box the fields of the map stand, nil where it is free.
    let places = held.map.fields.map { fields.firstIndex(of: $0) }
    let isNarrower = places.allSatisfy { $0 != nil }
    var found = Overlap.none
    for other in held.map.elements {
      var isCovered = isNarrower
      var overlaps = true
      for (range, place) in zip(other.ranges, places) {
        guard let place else { continue }
        let mine = element.ranges[place]
        guard range.lowerBound <= mine.upperBound, mine.lowerBound <= range.upperBound else {
          overlaps = false
          break
        }
        if mine.lowerBound < range.lowerBound || range.upperBound < mine.upperBound {
          isCovered = false
        }
      }
      guard overlaps else { continue }
      if isCovered { return .covered }
      found = .partial
    }
    return found
  }
}
