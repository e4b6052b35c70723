// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import FirewallRules
internal import PacketTagging

extension FilterPolicy {
  /// What of the policy the kernel can decide by itself, one program for a hook and family.
  ///
  /// A packet that a callout's filter may match, or one that the kernel cannot say exactly, is queued
  /// and decided by the whole policy; so the static filters of a program meet only packets of which
  /// they alone decide. Where that would be nearly none, or other layers than that of the hook
  /// itself are met there, there is no program: all packets are queued.
  ///
  /// `markMask` has the bits of the mark that bear handles; such packets are queued.
  func kernelPrograms(markMask: UInt32) -> [KernelProgram] {
    let order = order
    let met = Dictionary(grouping: layers.filter { $0.hook != nil }) { layer in
      MeetingPlace(hook: layer.hook ?? .output, isIPv6: layer.isIPv6)
    }
    return met.compactMap { place, layers -> KernelProgram? in
      let layer = Layer(hook: place.hook, isIPv6: place.isIPv6)
      guard layers == [layer], let hook = RuleHook(rawValue: place.hook.rawValue) else {
        return nil
      }
      var program = KernelProgram(
        hook: hook, family: place.isIPv6 ? .ipv6 : .ipv4, selection: [], sublayers: [])
      program.markMask = markMask
      return fill(&program, order[layer] ?? []) ? program : nil
    }.sorted { ($0.hook, $0.family.rawValue) < ($1.hook, $1.family.rawValue) }
  }

  /// False if the kernel is to decide nothing.
  private func fill(_ program: inout KernelProgram, _ sublayers: [[Int]]) -> Bool {
    var selection = MapBuilder()
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

private struct MeetingPlace: Hashable {
  var hook: Hook
  var isIPv6: Bool
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
