// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import FirewallRules
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
    do throws(RuleError) { try RuleSet.validate(engineTable: configuration.ruleTable) } catch {
      let rules = reader.value(of: "rules", in: root) ?? root
      let place = reader.value(of: "table", in: rules) ?? rules
      reader.problems.report("\(error)", at: place.position)
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
    check("provider", providers.map { ($0.provider.name, $0.position) })
    check("provider context", providerContexts.map { ($0.context.name, $0.position) })
    check("key of a sublayer", sublayers.compactMap { $0.key })
    check("key of a provider", providers.compactMap { $0.key })
    check("key of a provider context", providerContexts.compactMap { $0.key })
    check("key of a filter", filters.compactMap { $0.key })
  }

  /// Providers that objects other than filters name and that are not there.
  func checkProviders(_ problems: inout ProblemCollector) {
    let known = Set(providers.map(\.provider.name))
    let owned =
      sublayers.map { ("sublayer", $0.sublayer.name, $0.sublayer.provider, $0.providerPosition) }
      + providerContexts.map {
        ("provider context", $0.context.name, $0.context.provider, $0.providerPosition)
      }
    for (kind, name, provider, position) in owned {
      guard let provider, !known.contains(provider) else { continue }
      let error = PolicyError.unknownProvider(kind: kind, name: name, provider: provider)
      problems.report("\(error)", at: position)
    }
  }

  /// What the engine says of each filter, part by part so that nothing hides the rest.
  ///
  /// Only those that it does not take are looked at by themselves: there may be very many.
  func checkFilters(_ problems: inout ProblemCollector) {
    let kinds = Dictionary(callouts.map { ($0.name, $0.kind) }) { first, _ in first }
    for spec in filters { checkMedium(spec, kinds, &problems) }
    let names = KnownNames(self)
    for start in stride(from: 0, to: filters.count, by: 256) {
      let some = filters[start..<min(start + 256, filters.count)]
      if Self.areRight(some.map(\.engineFilter), names.policy) { continue }
      for spec in some { checkParts(spec, names.policy(for: spec.filter), &problems) }
    }
  }

  private static func areRight(_ filters: [Filter], _ base: FilterPolicy) -> Bool {
    var policy = base
    policy.filters = filters
    return (try? CompiledPolicy(policy)) != nil
  }

  private func checkParts(
    _ spec: FilterSpec, _ base: FilterPolicy, _ problems: inout ProblemCollector
  ) {
    if Self.areRight([spec.engineFilter], base) { return }
    let name = spec.filter.name
    // What may stand at every layer; no callout of a file is without a name.
    let plain = Filter(name: name, layer: spec.filter.layer, action: .calloutInspection(""))
    let elsewhere = Filter(name: name, layer: .outboundTransportV4, action: .permit)
    var parts = [plain, elsewhere, elsewhere, elsewhere, elsewhere]
    if case .calloutInspection = spec.filter.action {} else { parts[0].action = .permit }
    parts[1].sublayer = spec.filter.sublayer
    parts[2].action = spec.filter.action
    parts[2].flags = spec.engineFilter.flags
    parts[3].provider = spec.filter.provider
    parts[4].context = spec.filter.context
    for part in parts { check(part, base, spec, spec.positions.filter, &problems) }
    for (condition, place) in zip(spec.filter.conditions, spec.conditionPositions) {
      var single = plain
      single.conditions = [condition]
      check(single, base, spec, place.field, value: place.value, &problems)
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
        case .layerHasNoPackets, .inspectionOnly: spec.positions.layer
        case .typeMismatch, .matchTypeMismatch, .invalidRange: value ?? place
        case .invalidFlags: spec.positions.flags
        case .unknownProvider: spec.positions.provider
        case .unknownProviderContext: spec.positions.context
        case .fieldNotAtLayer, .fieldUnavailable, .duplicate, .foreignObject: place
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
    if change.needsDirection, layer.hooks == HookSet(.forward) {
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

/// What filters can name.
private struct KnownNames {
  /// A policy of all of it.
  let policy: FilterPolicy
  private let sublayers: Set<String>
  private let callouts: Set<String>

  init(_ file: PolicyFile) {
    sublayers = Set(file.sublayers.map(\.sublayer.name))
    callouts = Set(file.callouts.map(\.name))
    policy = FilterPolicy(
      providers: Set(file.providers.map(\.provider.name)).map { Provider(name: $0) },
      sublayers: sublayers.map { Sublayer(name: $0, weight: 0) },
      callouts: callouts.map { name in CalloutRegistration(name: name) { Callout() } },
      providerContexts: Set(file.providerContexts.map(\.context.name)).map {
        ProviderContext(name: $0, data: [])
      })
  }

  /// A policy of what one filter names.
  func policy(for filter: Filter) -> FilterPolicy {
    var policy = policy
    policy.sublayers =
      sublayers.contains(filter.sublayer)
      ? [Sublayer(name: filter.sublayer, weight: 0)] : []
    var named: Set = [""]
    if let callout = filter.action.callout, callouts.contains(callout) { named.insert(callout) }
    policy.callouts = named.map { name in CalloutRegistration(name: name) { Callout() } }
    return policy
  }
}
