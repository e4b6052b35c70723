// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
internal import PacketViews

/// Checks a policy's filters and lays them out for the packet path, layer by layer.
package struct FilterCompiler {
  /// Up to so many filters it costs less to try each than to look them up.
  package static let fewFilters = 16
  /// More ranges than these are searched, not tried one by one; and a mask that comes to more is
  /// tested as a mask.
  static let fewRanges = 4

  private let policy: FilterPolicy
  private let fewFilters: Int
  private let callouts: [String: Int32]
  /// The sublayers' places, highest weight first, equal ones by name.
  private let ranks: [String: Int]
  private let filtersOfLayers: [Layer: [Int]]
  let blobs: BlobOrder
  private(set) var layers = [CompiledPolicy.LayerFilters](
    repeating: CompiledPolicy.LayerFilters(), count: Layer.tableSize)
  private(set) var filters: [CompiledPolicy.CompiledFilter] = []
  private(set) var conditions: [CompiledCondition] = []
  private(set) var sets: [ValueRange] = []
  private(set) var fields: [Field] = []
  private(set) var builder = FilterIndexBuilder()

  init(
    _ policy: FilterPolicy, _ callouts: [String: Int32], _ fewFilters: Int
  ) {
    self.policy = policy
    self.fewFilters = fewFilters
    self.callouts = callouts
    blobs = BlobOrder(policy.filters)
    ranks = policy.sublayerRanks
    let enabled = policy.filters.indices.filter { policy.filters[$0].isAtWork(callouts) }
    filtersOfLayers = Dictionary(grouping: enabled) { policy.filters[$0].layer }
  }

  /// Compiles the filters of one layer.
  mutating func compile(_ layer: Layer) throws(PolicyError) {
    guard let members = filtersOfLayers[layer] else { return }
    let sorted = try sort(members)
    let first = filters.count
    let firstField = fields.count
    builder.filterGroups = []
    builder.groups = []
    builder.ranges = []
    for place in sorted { try compile(policy.filters[place.index], place, firstField) }
    link(from: first, sorted.map(\.rank))
    var compiled = CompiledPolicy.LayerFilters(
      first: first, end: filters.count, firstField: firstField, endField: fields.count)
    if sorted.count > fewFilters { compiled.node = builder.add(first) }
    layers[Int(layer.rawValue)] = compiled
  }

  private func sort(_ members: [Int]) throws(PolicyError) -> [FilterPlace] {
    for filter in members.lazy.map({ policy.filters[$0] }) where ranks[filter.sublayer] == nil {
      throw .unknownSublayer(filter: filter.name, sublayer: filter.sublayer)
    }
    return policy.sortedPlaces(of: members, ranks)
  }

  private mutating func compile(
    _ filter: Filter, _ place: FilterPlace, _ firstField: Int
  ) throws(PolicyError) {
    try check(filter)
    var compiled = CompiledPolicy.CompiledFilter(
      action: .permit, endsSublayer: false, isHard: filter.flags.contains(.clearActionRight),
      callout: -1, filter: Int32(place.index), context: filter.context.number,
      firstCondition: Int32(conditions.count),
      endCondition: 0, nextSublayer: 0)
    if let name = filter.action.callout {
      guard let number = callouts[name] else {
        throw .unknownCallout(filter: filter.name, callout: name)
      }
      compiled.callout = number
    }
    let isCalled = compiled.callout >= 0
    switch isCalled ? filter.action : filter.actionWithoutCallout ?? filter.action {
    case .permit: compiled.action = .permit
    case .block: (compiled.action, compiled.isHard) = (.block, true)
    case .calloutTerminating: compiled.action = .calloutTerminating
    case .calloutInspection: compiled.action = .calloutInspection
    case .calloutUnknown: compiled.action = .calloutUnknown
    }
    let firstGroup = builder.groups.count
    var sorted = filter.conditions
    if sorted.count > 1 { sorted.sort { $0.field.rawValue < $1.field.rawValue } }
    var next = 0
    while next < sorted.count {
      let start = next
      while next < sorted.count, sorted[next].field == sorted[start].field { next += 1 }
      compile(sorted[start..<next], filter.layer, firstField)
    }
    builder.filterGroups.append(firstGroup..<builder.groups.count)
    compiled.endCondition = Int32(conditions.count)
    filters.append(compiled)
  }

  /// Compiles the conditions on one field.
  private mutating func compile(_ group: ArraySlice<Condition>, _ layer: Layer, _ firstField: Int) {
    guard let field = group.first?.field else { return }
    let group = field.valueType == .blob ? group.flatMap(blobs.numeric)[...] : group
    let limit = field.largestValue(at: layer)
    let slot = slot(of: field, from: firstField)
    let start = conditions.count
    let firstRange = builder.ranges.count
    let isExact = addRanges(group, limit)
    let count = builder.ranges.count - firstRange
    switch (isExact, count) {
    case (false, _): conditions += group.map { CompiledCondition($0, endsGroup: false) }
    case (true, 0): conditions.append(CompiledCondition(field, .range, 1, 0))
    case (true, 1...Self.fewRanges):
      for range in builder.ranges[firstRange...] {
        conditions.append(CompiledCondition(field, .range, range.low, range.high))
      }
    default:
      conditions.append(
        CompiledCondition(field, .set, UInt128(sets.count), UInt128(sets.count + count)))
      sets += builder.ranges[firstRange...]
    }
    for number in start..<conditions.count { conditions[number].slot = slot }
    conditions[conditions.count - 1].endsGroup = true
    builder.groups.append(
      FilterIndexBuilder.Group(
        slot: slot, width: UInt8(128 - limit.leadingZeroBitCount), firstRange: Int32(firstRange),
        endRange: Int32(builder.ranges.count)))
  }

  /// Adds what the conditions accept; false if only mask tests can say it.
  private mutating func addRanges(_ group: ArraySlice<Condition>, _ limit: UInt128) -> Bool {
    if group.count == 1, let range = group.first?.match.range {
      builder.ranges.append(range)
      return true
    }
    guard let accepted = ValueRanges(group, upTo: limit, mostOfMask: Self.fewRanges)
    else { return false }
    for range in accepted.ranges {
      builder.ranges.append(ValueRange(low: range.lowerBound, high: range.upperBound))
    }
    return true
  }

  private mutating func slot(of field: Field, from first: Int) -> Int32 {
    for slot in first..<fields.count where fields[slot] == field { return Int32(slot - first) }
    fields.append(field)
    return Int32(fields.count - 1 - first)
  }

  /// Tells each filter where its sublayer ends.
  private mutating func link(from first: Int, _ ranks: [Int]) {
    var next = Int32(filters.count)
    for position in (first..<filters.count).reversed() {
      let place = position - first
      filters[position].endsSublayer =
        position == filters.count - 1 || ranks[place + 1] != ranks[place]
      if filters[position].endsSublayer { next = Int32(position) + 1 }
      filters[position].nextSublayer = next
    }
  }

  private func check(_ filter: Filter) throws(PolicyError) {
    guard filter.layer.acceptsFilters else {
      throw .layerHasNoPackets(filter: filter.name, layer: filter.layer.name)
    }
    if filter.layer.isInspectionOnly {
      guard case .calloutInspection = filter.action else {
        throw .inspectionOnly(filter: filter.name, layer: filter.layer.name)
      }
    }
    for condition in filter.conditions {
      switch condition.field.availability(at: filter.layer) {
      case .available: break
      case .unavailable(let reason):
        throw .fieldUnavailable(
          filter: filter.name, field: condition.field.name, layer: filter.layer.name,
          reason: reason)
      case .absent: throw PolicyError(.fieldNotAtLayer, condition, of: filter)
      }
      do {
        try condition.check(at: filter.layer)
      } catch {
        throw PolicyError(error, condition, of: filter)
      }
    }
  }
}

extension Condition.Match {
  /// The one range that the match accepts, nil if that takes more thought.
  fileprivate var range: ValueRange? {
    switch self {
    case .equal(let value): ValueRange(low: value, high: value)
    case .range(let low, let high): ValueRange(low: low, high: high)
    case .prefix(let prefix):
      ValueRange(low: prefix.values.lowerBound, high: prefix.values.upperBound)
    default: nil
    }
  }
}
