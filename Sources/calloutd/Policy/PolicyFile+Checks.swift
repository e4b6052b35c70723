// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import PacketTagging
internal import PacketViews
internal import Yams

extension PolicyFile {
  /// What single values cannot show.
  func checkSettings(_ root: Node, _ reader: inout PolicyReader) {
    let last = Int(configuration.firstQueue) + Int(configuration.queueCount) - 1
    if last > 65535 {
      let queues = reader.value(of: "queues", in: root) ?? root
      let place = reader.value(of: "count", in: queues) ?? queues
      reader.problems.report(
        "found \(configuration.queueCount) queues from \(configuration.firstQueue) on, "
          + "expected the last to be at most 65535",
        at: place.position)
    }
  }

  /// Names that are given twice.
  func checkNames(_ problems: inout ProblemCollector) {
    func check(_ kind: String, _ names: [(String, SourcePosition)]) {
      var first: [String: SourcePosition] = [:]
      for (name, position) in names {
        if let other = first[name] {
          problems.report(
            "found a second \(kind) \"\(name)\", expected names to be unique; "
              + "the first is in line \(other.line)",
            at: position)
        } else {
          first[name] = position
        }
      }
    }
    check("sublayer", sublayers.map { ($0.sublayer.name, $0.position) })
    check("callout", callouts.map { ($0.name, $0.position) })
  }

  /// What the engine says of each filter, part by part so that nothing hides the rest.
  func checkFilters(_ problems: inout ProblemCollector) {
    let kinds = Dictionary(callouts.map { ($0.name, $0.kind) }) { first, _ in first }
    var bands = Set<String>()
    let base = FilterPolicy(
      sublayers: sublayers.map(\.sublayer).filter { bands.insert($0.name).inserted },
      callouts: kinds.keys.map { name in CalloutRegistration(name: name) { Callout() } })
    for spec in filters {
      checkMedium(spec, kinds, &problems)
      let name = spec.filter.name
      let plain = Filter(name: name, layer: spec.filter.layer, action: .permit)
      let parts = [
        plain,
        Filter(
          name: name, layer: .outboundTransportV4, sublayer: spec.filter.sublayer,
          action: .permit),
        Filter(name: name, layer: .outboundTransportV4, action: spec.filter.action),
      ]
      for part in parts { check(part, base, spec, spec.positions.filter, &problems) }
      for (condition, place) in zip(spec.filter.conditions, spec.conditionPositions) {
        var single = plain
        single.conditions = [condition]
        check(single, base, spec, place.field, value: place.value, &problems)
      }
    }
  }

  private func check(
    _ filter: Filter, _ base: FilterPolicy, _ spec: FilterSpec, _ place: SourcePosition,
    value: SourcePosition? = nil, _ problems: inout ProblemCollector
  ) {
    var policy = base
    policy.filters = [filter]
    do {
      _ = try CompiledPolicy(policy)
    } catch {
      let position =
        switch error {
        case .unknownSublayer: spec.positions.sublayer
        case .unknownCallout: spec.positions.callout
        case .layerHasNoPackets: spec.positions.layer
        case .typeMismatch, .matchTypeMismatch, .invalidRange: value ?? place
        case .fieldNotAtLayer, .duplicate, .unknownProvider, .foreignObject: place
        }
      problems.report("\(error)", at: position)
    }
  }

  /// What a callout cannot do at the filter's layer.
  private func checkMedium(
    _ spec: FilterSpec, _ kinds: [String: CalloutSpec.Kind], _ problems: inout ProblemCollector
  ) {
    let layer = spec.filter.layer
    if layer.medium == .ethernet || layer.medium == .native, interfaces.isEmpty {
      problems.report(
        "found a filter at \(layer.name), expected interfaces to name those whose frames it sees",
        at: spec.positions.layer)
    }
    switch spec.filter.action.callout.flatMap({ kinds[$0] }) {
    case .rewrite? where layer.indicatesFrames:
      problems.report(
        "found a rewrite of IP headers at \(layer.name), expected rewrite-mac or a layer of packets",
        at: spec.positions.callout)
    case .rewrite(let rewrite)?: check(rewrite.change, spec, &problems)
    case .rewriteMAC(let rewrite)?:
      if rewrite.change.needsDirection, layer.medium == .virtualSwitch {
        problems.report(
          "found a rewrite of local or remote addresses at \(layer.name), expected source or "
            + "destination: bridged frames have no local end",
          at: spec.positions.callout)
      }
      requireFrames(spec, &problems)
    case .inspectARP?: requireFrames(spec, &problems)
    case .generate(let generation)?:
      requireFrames(spec, &problems)
      if !interfaces.contains(generation.interface) {
        problems.report(
          "found a generator at \(generation.interface), expected one of interfaces",
          at: spec.positions.callout)
      }
    default: break
    }
  }

  private func requireFrames(_ spec: FilterSpec, _ problems: inout ProblemCollector) {
    guard !spec.filter.layer.indicatesFrames else { return }
    problems.report(
      "found a callout of frames at \(spec.filter.layer.name), expected a MAC layer such as "
        + Layer.inboundMACFrameEthernet.name,
      at: spec.positions.callout)
  }

  private func check(
    _ change: HeaderChange, _ spec: FilterSpec, _ problems: inout ProblemCollector
  ) {
    let layer = spec.filter.layer
    if change.needsDirection, layer.hook == .forward {
      problems.report(
        "found a rewrite of local or remote fields at \(layer.name), expected source or "
          + "destination: forwarded packets have no local end",
        at: spec.positions.callout)
    }
    if let address = change.addresses.first(where: { ($0.version == .v6) != layer.isIPv6 }) {
      problems.report(
        "found a rewrite to \(address) at \(layer.name), expected an "
          + "IPv\(layer.isIPv6 ? 6 : 4) address",
        at: spec.positions.callout)
    }
  }
}
