// SPDX-License-Identifier: Apache-2.0

package import PacketTagging
internal import PacketViews

/// A policy as the packet path walks it: flat arrays, sorted once.
package final class CompiledPolicy: Sendable {
  /// Where the filters of one layer stand, by sublayer, then weight, highest first.
  struct LayerFilters: BitwiseCopyable {
    var first = 0
    var end = 0
  }

  struct CompiledFilter: BitwiseCopyable {
    enum Action: UInt8, BitwiseCopyable {
      case permit, block, calloutTerminating, calloutInspection, calloutUnknown
    }
    var action: Action
    /// The last filter of its sublayer.
    var endsSublayer: Bool
    /// Lower sublayers cannot change what it says.
    var isHard: Bool
    var callout: Int32
    /// Which filter of the policy, for hit counts.
    var filter: Int32
    /// The number that it has for its callout.
    var context: UInt64
    var firstCondition: Int32
    var endCondition: Int32
    /// Where the next sublayer's filters begin.
    var nextSublayer: Int32
  }

  let layers: [LayerFilters]
  let filters: [CompiledFilter]
  let conditions: [CompiledCondition]
  /// The callouts, in the order of their numbers.
  package let callouts: [CalloutRegistration]
  /// The policy that was compiled.
  package let policy: FilterPolicy

  /// The layers with filters at each hook.
  package let walks: LayerWalks

  /// Whether any filter works at a layer.
  package func hasFilters(at layer: Layer) -> Bool {
    let filters = layers[Int(layer.rawValue)]
    return filters.end > filters.first
  }

  /// Checks and compiles a policy.
  package init(_ policy: FilterPolicy) throws(PolicyError) {
    self.policy = policy
    callouts = policy.callouts
    try policy.checkObjects()
    try Self.requireUnique(policy.callouts.map(\.name), "callouts")
    var weights = ["default": UInt16(0x8000)]
    for sublayer in policy.sublayers { weights[sublayer.name] = sublayer.weight }
    // Those without code have none of their own.
    var numbers: [String: Int32] = [:]
    for callout in policy.addedCallouts { numbers[callout.name] = -1 }
    for (number, callout) in policy.callouts.enumerated() { numbers[callout.name] = Int32(number) }

    var layers = [LayerFilters](repeating: LayerFilters(), count: Layer.tableSize)
    var filters: [CompiledFilter] = []
    var conditions: [CompiledCondition] = []
    for (layer, indices) in Dictionary(
      grouping: policy.filters.indices.filter { policy.filters[$0].isAtWork(numbers) },
      by: { policy.filters[$0].layer })
    {
      let sorted = try Self.sort(indices, policy, weights)
      let first = filters.count
      try Self.compile(sorted, policy, numbers, &filters, &conditions)
      layers[Int(layer.rawValue)] = LayerFilters(first: first, end: filters.count)
    }
    self.layers = layers
    walks = LayerWalks { layer in
      let filters = layers[Int(layer.rawValue)]
      return filters.end > filters.first
    }
    self.filters = filters
    self.conditions = conditions
  }

  private static func requireUnique(_ names: [String], _ kind: String) throws(PolicyError) {
    var seen: Set<String> = []
    for name in names where !seen.insert(name).inserted {
      throw .duplicate(kind: kind, name: name)
    }
  }

  private static func sort(
    _ indices: [Int], _ policy: FilterPolicy, _ weights: [String: UInt16]
  ) throws(PolicyError) -> [Int] {
    for index in indices {
      let filter = policy.filters[index]
      if weights[filter.sublayer] == nil {
        throw .unknownSublayer(filter: filter.name, sublayer: filter.sublayer)
      }
    }
    // Equal weights keep the policy's order.
    return indices.sorted { left, right in
      let (a, b) = (policy.filters[left], policy.filters[right])
      let (wa, wb) = (weights[a.sublayer] ?? 0, weights[b.sublayer] ?? 0)
      if wa != wb { return wa > wb }
      if a.sublayer != b.sublayer { return a.sublayer < b.sublayer }
      if a.effectiveWeight != b.effectiveWeight { return a.effectiveWeight > b.effectiveWeight }
      return left < right
    }
  }

  private static func compile(
    _ sorted: [Int], _ policy: FilterPolicy, _ numbers: [String: Int32],
    _ filters: inout [CompiledFilter], _ conditions: inout [CompiledCondition]
  ) throws(PolicyError) {
    let first = filters.count
    for (position, index) in sorted.enumerated() {
      let filter = policy.filters[index]
      try check(filter)
      var compiled = CompiledFilter(
        action: .permit, endsSublayer: false, isHard: filter.flags.contains(.clearActionRight),
        callout: -1, filter: Int32(index), context: filter.context.number,
        firstCondition: Int32(conditions.count), endCondition: 0, nextSublayer: 0)
      if let name = filter.action.callout {
        guard let number = numbers[name] else {
          throw .unknownCallout(filter: filter.name, callout: name)
        }
        compiled.callout = number
      }
      let isCalled = compiled.callout >= 0
      compiled.action =
        switch isCalled ? filter.action : filter.actionWithoutCallout ?? filter.action {
        case .permit: .permit
        case .block: .block
        case .calloutTerminating: .calloutTerminating
        case .calloutInspection: .calloutInspection
        case .calloutUnknown: .calloutUnknown
        }
      if compiled.action == .block { compiled.isHard = true }
      let groups = Dictionary(grouping: filter.conditions, by: \.field)
      for (_, group) in groups.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        for (number, condition) in group.enumerated() {
          conditions.append(
            CompiledCondition(condition, endsGroup: number == group.count - 1))
        }
      }
      compiled.endCondition = Int32(conditions.count)
      compiled.endsSublayer =
        position == sorted.count - 1
        || policy.filters[sorted[position + 1]].sublayer != filter.sublayer
      filters.append(compiled)
    }
    var next = Int32(filters.count)
    for position in (first..<filters.count).reversed() {
      if filters[position].endsSublayer { next = Int32(position) + 1 }
      filters[position].nextSublayer = next
    }
  }

  private static func check(_ filter: Filter) throws(PolicyError) {
    guard filter.layer.acceptsFilters else {
      throw .layerHasNoPackets(filter: filter.name, layer: filter.layer.name)
    }
    if filter.layer.isDiscard {
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
      case .absent:
        throw .fieldNotAtLayer(
          filter: filter.name, field: condition.field.name, layer: filter.layer.name,
          instead: condition.field.substitute(at: filter.layer))
      }
      try check(condition, filter)
    }
  }

  private static func check(_ condition: Condition, _ filter: Filter) throws(PolicyError) {
    func mismatch(_ expected: String) -> PolicyError {
      .typeMismatch(filter: filter.name, field: condition.field.name, expected: expected)
    }
    let limit: UInt128
    switch condition.field.valueType {
    case .integer(let bits): limit = (1 << UInt128(bits)) - 1
    case .address: limit = filter.layer.isIPv6 ? .max : 0xffff_ffff
    case .macAddress: limit = 0xffff_ffff_ffff
    case .flags: limit = 0xffff_ffff
    }
    switch condition.match {
    case .equal(let value):
      guard value <= limit else { throw mismatch("a value of at most \(limit)") }
    case .range(let low, let high):
      guard low <= high else { throw mismatch("a range whose first value is not above its last") }
      guard high <= limit else { throw mismatch("values of at most \(limit)") }
    case .prefix(let prefix):
      guard condition.field.valueType == .address else { throw mismatch("no prefix") }
      guard (prefix.address.version == .v6) == filter.layer.isIPv6 else {
        throw mismatch("an address of the layer's family")
      }
    case .masked(let value, let mask):
      guard condition.field.valueType != .address else { throw mismatch("a prefix, no mask") }
      guard mask <= limit, value & ~mask == 0 else {
        throw mismatch("a mask of at most \(limit) and a value without bits outside of it")
      }
    case .flagsAllSet, .flagsAnySet, .flagsNoneSet:
      switch condition.field.valueType {
      case .address, .macAddress: throw mismatch("no flags")
      case .integer, .flags: break
      }
    }
  }
}
