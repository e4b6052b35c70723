// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import FirewallRules
internal import PacketTagging

extension FilterPolicy {
  /// What of the policy the kernel can decide by itself, one program for a hook and family.
  ///
  /// A packet that a callout's filter may match, or one that the kernel cannot say exactly, is queued
  /// and decided by the whole policy; so the static filters of a program meet only packets of which
  /// they alone decide. There is no program, so all packets are queued, where that would be nearly
  /// none, where other layers than that of the hook itself are met, and where dropped ones are shown.
  ///
  /// `markMask` has the bits of the mark that bear handles; such packets are queued. `released` is what
  /// the conntrack mark says of flows that every callout has released under this policy.
  func kernelPrograms(markMask: UInt32, released: MarkMatch? = nil) -> [KernelProgram] {
    let (order, layers) = (order, layers)
    let released = callouts.contains(where: \.needsFlows) ? released : nil
    return RuleHook.allCases.flatMap { hook in
      [false, true].compactMap { isIPv6 -> KernelProgram? in
        guard let place = Hook(rawValue: hook.rawValue),
          let layer = onlyLayer(of: layers, at: place, isIPv6: isIPv6)
        else { return nil }
        return program(hook, isIPv6 ? .ipv6 : .ipv4, order[layer] ?? [], markMask, released)
      }
    }
  }

  /// Nil if the kernel is to decide nothing.
  private func program(
    _ hook: RuleHook, _ family: Families, _ sublayers: [[Int]], _ markMask: UInt32,
    _ released: MarkMatch?
  ) -> KernelProgram? {
    let decided = parts(sublayers, hook, family) { $0.kernelPart }
    var program = KernelProgram(
      hook: hook, family: family, selection: decided?.selection ?? [],
      sublayers: decided?.sublayers ?? [])
    program.markMask = markMask
    program.queuesAll = decided == nil
    if let released, sublayers.joined().contains(where: { filters[$0].action.callout != nil }) {
      let known = Set(callouts.map(\.name))
      let parts = parts(sublayers, hook, family) { $0.releasedPart(known) }
      program.bypass = parts.map {
        FlowBypass(mark: released, selection: $0.selection, sublayers: $0.sublayers)
      }
    }
    if !program.isWithinLimits { program.bypass = nil }
    guard !program.queuesAll || program.bypass != nil else { return nil }
    return program.isWithinLimits ? program : nil
  }

  /// The layer of a hook, if packets meet no other there and what it drops is shown nowhere.
  private func onlyLayer(of layers: Set<Layer>, at hook: Hook, isIPv6: Bool) -> Layer? {
    let layer = Layer(hook: hook, isIPv6: isIPv6)
    let met = layers.filter { $0.hooks.contains(HookSet(hook)) && $0.isIPv6 == isIPv6 }
    guard met == [layer], layer.discard.map(layers.contains) != true else { return nil }
    return layer
  }

  /// What is queued and what is decided, by what each filter is to the kernel; nil if all is queued.
  func parts(
    _ sublayers: [[Int]], _ hook: RuleHook, _ family: Families, _ part: (Filter) -> KernelPart
  ) -> (selection: [KernelMap], sublayers: [[KernelMap]])? {
    var selection = MapBuilder()
    if hook == .output { selection.addICMPErrors(family) }
    var decided: [[KernelMap]] = []
    for sublayer in sublayers {
      var maps = MapBuilder()
      for number in sublayer {
        let filter = filters[number]
        let part = part(filter)
        guard part != .passedOver, let box = FilterBox(filter) else { continue }
        let fields = box.fields
        guard case .decided(let verdict) = part, box.isExact else {
          // All packets: nothing is left to be decided here.
          guard !fields.isEmpty else { return nil }
          for ranges in box.products {
            selection.add(
              fields,
              KernelElement(ranges: ranges, verdict: .permit, filter: number, name: filter.name))
          }
          continue
        }
        for ranges in box.products {
          maps.add(
            fields,
            KernelElement(ranges: ranges, verdict: verdict, filter: number, name: filter.name))
        }
      }
      guard !maps.isTooMuch, !selection.isTooMuch else { return nil }
      if !maps.maps.isEmpty { decided.append(maps.maps) }
    }
    return (selection.maps, decided)
  }
}

extension MapBuilder {
  /// Adds the packets that meet a layer of their own instead of the transport layer.
  fileprivate mutating func addICMPErrors(_ family: Families) {
    let isIPv6 = family == .ipv6
    let number: UInt128 = isIPv6 ? 58 : 1
    let types: [ClosedRange<UInt128>] = isIPv6 ? [0...127] : [3...5, 11...12]
    for type in types {
      add(
        [.transportProtocol, .icmpType],
        KernelElement(
          ranges: [number...number, type], verdict: .permit, filter: -1, name: "ICMP error"))
    }
  }
}

/// What a filter is to the kernel.
enum KernelPart: Equatable {
  /// It decides by itself.
  case decided(KernelVerdict)
  /// Only the workers can tell.
  case asked
  /// It does nothing.
  case passedOver
}

extension Filter {
  /// The filter for packets of any flow.
  var kernelPart: KernelPart {
    switch action {
    case .permit: .decided(permit)
    case .block: .decided(.block)
    case .calloutTerminating, .calloutInspection, .calloutUnknown: .asked
    }
  }

  /// The filter for packets of flows that its callout has released, or cannot match.
  fileprivate func releasedPart(_ known: Set<String>) -> KernelPart {
    switch action {
    case .permit, .block: kernelPart
    case .calloutInspection: .passedOver
    case .calloutTerminating(let callout), .calloutUnknown(let callout):
      known.contains(callout) ? .decided(permit) : .asked
    }
  }

  private var permit: KernelVerdict {
    flags.contains(.clearActionRight) ? .permitForGood : .permit
  }
}
