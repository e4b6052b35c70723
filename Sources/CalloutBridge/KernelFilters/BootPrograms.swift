// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
public import FirewallRules
public import PacketTagging

/// Why a filter cannot be boot-time.
public enum BootFilterError: Error, Sendable, Hashable, CustomStringConvertible {
  /// No callout runs before the engine.
  case asksCallout(filter: String)
  /// The kernel meets no such layer by itself.
  case layerNotServed(filter: String, layer: Layer)
  /// The kernel cannot tell by itself whether a packet passes the condition.
  case conditionNotServed(filter: String, Field)
  /// Boot-time filters are no part of the engine, so not persistent in it.
  case persistent(filter: String)
  /// The filters of a layer are more than the kernel's tables hold.
  case tooMuch(layer: Layer)

  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .asksCallout(let filter):
      "filter \"\(filter)\" cannot be boot-time: no callout runs before the engine; let it permit or "
        + "block"
    case .layerNotServed(let filter, let layer):
      "filter \"\(filter)\" cannot be boot-time at \(layer.name): before the engine only inbound-ippacket, "
        + "inbound-transport, ipforward, outbound-transport and outbound-ippacket are met"
    case .conditionNotServed(let filter, let field):
      "filter \"\(filter)\" cannot be boot-time with such a condition on \(field.name): the kernel must "
        + "decide it alone; match addresses, ports, ip-protocol, ICMP types or devices"
    case .persistent(let filter):
      "filter \"\(filter)\" cannot be boot-time and persistent: boot-time filters end when the engine "
        + "starts; give a second filter for the time after that"
    case .tooMuch(let layer):
      "the boot-time filters at \(layer.name) overlap in more ways than the kernel's tables hold; use "
        + "fewer, or fewer sublayers"
    }
  }
}

extension Filter {
  /// Why the filter cannot be boot-time; none if it can.
  public var bootTimeProblems: [BootFilterError] {
    guard action.callout == nil else { return [.asksCallout(filter: name)] }
    guard RuleHook.allCases.contains(where: { $0.layer(isIPv6: layer.isIPv6) == layer }) else {
      return [.layerNotServed(filter: name, layer: layer)]
    }
    var problems: [BootFilterError] = []
    if flags.contains(.persistent) { problems.append(.persistent(filter: name)) }
    var plain = withoutLifetime
    for field in Set(conditions.map(\.field)).sorted(by: { $0.rawValue < $1.rawValue }) {
      plain.conditions = conditions.filter { $0.field == field }
      let names = plain.conditions.contains(where: \.namesFragments)
      if names || FilterBox(plain)?.isExact == false {
        problems.append(.conditionNotServed(filter: name, field))
      }
    }
    if problems.isEmpty, FilterBox(withoutLifetime)?.isExact == false {
      problems.append(.tooMuch(layer: layer))
    }
    return problems
  }

  /// The same for the kernel, which asks neither when it works nor, of one that it is given, whether.
  fileprivate var withoutLifetime: Filter {
    var filter = self
    filter.flags.subtract([.bootTime, .disabled])
    return filter
  }
}

extension FilterPolicy {
  /// What the kernel decides by these filters before the engine runs, one program for a hook and family.
  ///
  /// A packet's fields are what its headers say: later fragments have no ports, and what stands behind
  /// IPv6 extension headers is found as the kernel finds it.
  public func bootPrograms() throws(BootFilterError) -> [KernelProgram] {
    for filter in filters {
      if let problem = filter.bootTimeProblems.first { throw problem }
    }
    let order = order
    var policy = self
    policy.filters = filters.map(\.withoutLifetime)
    var programs: [KernelProgram] = []
    for hook in RuleHook.allCases {
      for family in [Families.ipv4, .ipv6] {
        guard let layer = hook.layer(isIPv6: family == .ipv6), let sublayers = order[layer] else {
          continue
        }
        let parts = policy.parts(sublayers, hook, family) { $0.kernelPart }
        guard let parts else { throw .tooMuch(layer: layer) }
        guard !parts.sublayers.isEmpty else { continue }
        // What is queued while the engine runs meets another layer: this one's filters pass it by.
        let others = parts.selection.map(\.permittedForGood)
        var program = KernelProgram(
          hook: hook, family: family, selection: [],
          sublayers: (others.isEmpty ? [] : [others]) + parts.sublayers)
        program.queuesNothing = true
        guard program.isWithinLimits else { throw .tooMuch(layer: layer) }
        programs.append(program)
      }
    }
    return programs
  }
}

extension RuleHook {
  /// The layer that is the hook's own.
  fileprivate func layer(isIPv6: Bool) -> Layer? {
    Hook(rawValue: rawValue).map { Layer(hook: $0, isIPv6: isIPv6) }
  }
}

extension KernelMap {
  fileprivate var permittedForGood: KernelMap {
    var map = self
    for index in map.elements.indices { map.elements[index].verdict = .permitForGood }
    return map
  }
}

extension Condition {
  /// A program for packets that are queued takes them for whole ones, since fragments are.
  fileprivate var namesFragments: Bool {
    guard field == .flags else { return false }
    let fragment = ConditionFlags.fragment.rawValue
    return switch match {
    case .flagsAllSet(let bits), .flagsAnySet(let bits), .flagsNoneSet(let bits):
      bits & fragment != 0
    default: true
    }
  }
}
