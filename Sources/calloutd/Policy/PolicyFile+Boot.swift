// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import FirewallRules
internal import Yams

extension FilterSpec {
  /// The filter without the flag by which it is none of the engine's.
  var engineFilter: Filter {
    var filter = filter
    filter.flags.remove(.bootTime)
    return filter
  }
}

extension PolicyFile {
  /// Sets boot-time filters apart from the engine's, and tells what is wrong with them.
  mutating func splitBootFilters(_ root: Node, _ reader: inout PolicyReader) {
    bootFilters = filters.filter { $0.filter.flags.contains(.bootTime) }
    guard let first = bootFilters.first else { return }
    filters.removeAll { $0.filter.flags.contains(.bootTime) }
    let count = reader.problems.count
    for spec in bootFilters {
      for problem in spec.filter.bootTimeProblems {
        reader.problems.report("\(problem)", at: spec.position(of: problem))
      }
    }
    let rules = reader.value(of: "rules", in: root) ?? root
    if ruleBackend == .iptables {
      reader.problems.report(
        "found the back end iptables, expected auto or an nft one: boot-time filters are rules of nft",
        at: (reader.value(of: "backend", in: rules) ?? rules).position)
    }
    do throws(RuleError) { _ = try BootRules(besides: configuration.ruleTable) } catch {
      let place = reader.value(of: "table", in: rules) ?? rules
      reader.problems.report("\(error)", at: place.position)
    }
    guard reader.problems.count == count else { return }
    do throws(BootFilterError) { _ = try bootPrograms } catch {
      reader.problems.report("\(error)", at: first.positions.filter)
    }
  }

  /// What the kernel decides until the engine's rules stand.
  var bootPrograms: [KernelProgram] {
    get throws(BootFilterError) {
      try FilterPolicy(
        sublayers: sublayers.map(\.sublayer), filters: bootFilters.map(\.filter)
      ).bootPrograms()
    }
  }
}

extension FilterSpec {
  fileprivate func position(of problem: BootFilterError) -> SourcePosition {
    switch problem {
    case .asksCallout: return positions.callout
    case .layerNotServed: return positions.layer
    case .conditionNotServed(_, let field):
      let place = filter.conditions.firstIndex { $0.field == field }
      guard let place, conditionPositions.indices.contains(place) else { return positions.filter }
      return conditionPositions[place].field
    case .persistent: return positions.flags
    case .tooMuch: return positions.filter
    }
  }
}
