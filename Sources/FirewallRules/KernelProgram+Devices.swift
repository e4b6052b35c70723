// SPDX-License-Identifier: Apache-2.0

extension KernelProgram {
  /// The same for iptables, which knows devices by their names alone.
  ///
  /// What only the number of a device tells apart is queued, where the whole policy decides.
  var sayable: KernelProgram {
    var program = self
    var more: [KernelMap] = []
    program.selection = hook.sayable(selection, &more)
    program.sublayers = sublayers.map { hook.sayable($0, &more) }
    program.selection += more
    if let bypass {
      more = []
      program.bypass?.selection = hook.sayable(bypass.selection, &more)
      program.bypass?.sublayers = bypass.sublayers.map { hook.sayable($0, &more) }
      program.bypass?.selection += more
    }
    return program
  }
}

extension RuleHook {
  /// Maps without the elements that cannot be said; those come to `more`, less their devices.
  fileprivate func sayable(_ maps: [KernelMap], _ more: inout [KernelMap]) -> [KernelMap] {
    maps.compactMap { map in
      let devices = map.fields.indices.filter {
        [.inputDevice, .outputDevice].contains(map.fields[$0])
      }
      guard !devices.isEmpty else { return map }
      func isSayable(_ element: KernelElement) -> Bool {
        devices.allSatisfy {
          if case .unsayable = DeviceTest(element.ranges[$0], map.fields[$0], at: self) {
            false
          } else {
            true
          }
        }
      }
      var kept = map
      kept.elements = map.elements.filter(isSayable)
      let others = map.elements.filter { !isSayable($0) }
      if !others.isEmpty {
        let places = map.fields.indices.filter { !devices.contains($0) }
        more.append(
          KernelMap(
            fields: places.map { map.fields[$0] },
            elements: others.map { element in
              var element = element
              element.ranges = places.map { element.ranges[$0] }
              return element
            }))
      }
      return kept.elements.isEmpty ? nil : kept
    }
  }
}
