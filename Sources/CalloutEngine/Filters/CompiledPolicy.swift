// SPDX-License-Identifier: Apache-2.0

internal import Kernel
package import PacketTagging

/// A policy as the packet path walks it: flat arrays, sorted once.
package final class CompiledPolicy: Sendable {
  /// Where the filters of one layer stand, by sublayer, then weight, highest first.
  struct LayerFilters: BitwiseCopyable {
    var first = 0
    var end = 0
    /// The node of the index that leads to them, -1 if they are so few that each is tried.
    var node = -1
    /// The fields that they test, by slot.
    var firstField = 0
    var endField = 0
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
  /// The ranges of conditions that accept many.
  let sets: [ValueRange]
  let fields: [Field]
  let index: FilterIndex
  /// What numbers stand for strings of bytes.
  package let blobs: BlobOrder
  /// The callouts, in the order of their numbers.
  package let callouts: [CalloutRegistration]
  /// The policy that was compiled.
  package let policy: FilterPolicy

  /// The layers with filters at each hook.
  let walks: LayerWalks
  /// Where a packet may meet more than the first layer of its hook.
  package let severalLayers: HookFamilies
  /// Whether any discard layer has filters.
  package let hasDiscards: Bool

  /// Where it asks for the processes of flows.
  let processInterest: ProcessInterest

  /// Whether any filter works at a layer.
  package func hasFilters(at layer: Layer) -> Bool {
    let filters = layers[Int(layer.rawValue)]
    return filters.end > filters.first
  }

  /// Checks and compiles a policy.
  ///
  /// At layers with up to `fewFilters` filters each of them is tried.
  package init(
    _ policy: FilterPolicy, fewFilters: Int = FilterCompiler.fewFilters
  ) throws(PolicyError) {
    self.policy = policy
    callouts = policy.callouts
    try policy.checkObjects()
    try Self.requireUnique(policy.callouts.map(\.name), "callouts")
    // Those without code have none of their own.
    var numbers: [String: Int32] = [:]
    for callout in policy.addedCallouts { numbers[callout.name] = -1 }
    for (number, callout) in policy.callouts.enumerated() { numbers[callout.name] = Int32(number) }

    var compiler = FilterCompiler(policy, numbers, fewFilters)
    for layer in Layer.allCases { try compiler.compile(layer) }
    let layers = compiler.layers
    self.layers = layers
    walks = LayerWalks { layer in
      let filters = layers[Int(layer.rawValue)]
      return filters.end > filters.first
    }
    severalLayers = walks.several
    hasDiscards = walks.hasDiscards
    filters = compiler.filters
    conditions = compiler.conditions
    sets = compiler.sets
    fields = compiler.fields
    index = compiler.builder.index
    blobs = compiler.blobs
    processInterest = ProcessInterest(compiler, policy.callouts)
  }

  /// Whether a filter accepts the values of a packet.
  @inline(__always)
  func accepts(_ values: borrowing FixedArray<UInt128?>, _ filter: CompiledFilter) -> Bool {
    var position = Int(filter.firstCondition)
    let end = Int(filter.endCondition)
    while position < end {
      guard let value = values[Int(conditions[position].slot)] else { return false }
      var accepted = false
      while true {
        let condition = conditions[position]
        position += 1
        if condition.accepts(value, sets) { accepted = true }
        if condition.endsGroup { break }
      }
      if !accepted { return false }
    }
    return true
  }

  private static func requireUnique(_ names: [String], _ kind: String) throws(PolicyError) {
    var seen: Set<String> = []
    for name in names where !seen.insert(name).inserted {
      throw .duplicate(kind: kind, name: name)
    }
  }
}
