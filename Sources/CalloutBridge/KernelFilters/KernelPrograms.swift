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
  /// `markMask` has the bits of the mark that bear handles; such packets are queued.
  func kernelPrograms(markMask: UInt32) -> [KernelProgram] {
    let (order, layers) = (order, layers)
    return RuleHook.allCases.flatMap { hook in
      [false, true].compactMap { isIPv6 -> KernelProgram? in
        guard let place = Hook(rawValue: hook.rawValue),
          let layer = onlyLayer(of: layers, at: place, isIPv6: isIPv6)
        else { return nil }
        var program = KernelProgram(
          hook: hook, family: isIPv6 ? .ipv6 : .ipv4, selection: [], sublayers: [])
        program.markMask = markMask
        return fill(&program, order[layer] ?? []) ? program : nil
      }
    }
  }

  /// The layer of a hook, if packets meet no other there and what it drops is shown nowhere.
  private func onlyLayer(of layers: Set<Layer>, at hook: Hook, isIPv6: Bool) -> Layer? {
    let layer = Layer(hook: hook, isIPv6: isIPv6)
    let met = layers.filter { $0.hooks.contains(HookSet(hook)) && $0.isIPv6 == isIPv6 }
    guard met == [layer], layer.discard.map(layers.contains) != true else { return nil }
    return layer
  }

  /// False if the kernel is to decide nothing.
  private func fill(_ program: inout KernelProgram, _ sublayers: [[Int]]) -> Bool {
    var selection = MapBuilder()
    if program.hook == .output { selection.addICMPErrors(program.family) }
    for sublayer in sublayers {
      var maps = MapBuilder()
      for number in sublayer {
        let filter = filters[number]
        guard let box = FilterBox(filter) else { continue }
        let fields = box.fields
        guard let verdict = filter.kernelVerdict, box.isExact else {
          // All packets: nothing is left to be decided here.
          guard !fields.isEmpty else { return false }
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
      guard !maps.isTooMuch, !selection.isTooMuch else { return false }
      if !maps.maps.isEmpty { program.sublayers.append(maps.maps) }
    }
    program.selection = selection.maps
    return program.isWithinLimits
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

extension Filter {
  /// What the filter decides without a callout; nil if one is asked.
  fileprivate var kernelVerdict: KernelVerdict? {
    switch action {
    case .permit: flags.contains(.clearActionRight) ? .permitForGood : .permit
    case .block: .block
    case .calloutTerminating, .calloutInspection, .calloutUnknown: nil
    }
  }
}
