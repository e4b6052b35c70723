// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import Kernel

/// What layer 2 can do with one device, for `calloutd probe`.
public struct LinkFindings: Sendable, Hashable {
  /// The device.
  public let device: LinkDevice
  /// The layers that it can have, by name, and why not.
  public let features: [KernelFeature]
}

/// Finds out which devices can be diverted here.
public enum LinkProbe {
  /// The name of the feature: frames with their MAC header.
  public static let ethernet = "mac-frame-ethernet"
  /// The name of the feature: frames of the device's own medium.
  public static let native = "mac-frame-native"
  /// The name of the feature of the kernel that both rest on.
  public static let divert = "frame-divert"
  /// The name of the feature: what is put back keeps its priority without a call of its own.
  public static let priority = "frame-priority"

  /// What the running kernel can do, whatever the device: a helper device, the programs, TCX or
  /// clsact, the ring and the sockets, all of them tried on a helper of its own.
  ///
  /// Disturbs nobody: it diverts nothing.
  public static func kernel() -> [KernelFeature] {
    let divert = tryDivert(by: nil)
    return [
      KernelFeature(Self.divert, divert.support), KernelFeature(priority, divert.priority),
    ]
  }

  /// What each device of this thread's network namespace can have.
  public static func devices() throws(LinkError) -> [LinkFindings] {
    let ways = DivertAttachment.allCases.map { ($0, tryDivert(by: $0).support) }
    let disciplines = try FilterDiscipline.all()
    var findings: [LinkFindings] = []
    for device in try LinkDevice.all() where !HelperDevices.isName(device.name) {
      let discipline = disciplines.first { $0.device == device.index }
      let filters: [DeviceFilter] =
        if let discipline { try DeviceFilter.all(at: discipline) } else { [] }
      let diverts: [KernelFeature] = ways.map { way, support in
        divert(of: device, by: way, support, discipline, filters)
      }
      let best = diverts.first { $0.support == .supported } ?? diverts.last
      findings.append(
        LinkFindings(
          device: device,
          features: diverts + features(of: device, best?.support ?? .unknown(reason: ""))))
    }
    return findings
  }

  /// Whether a device can be diverted in one way, and who comes before us there.
  static func divert(
    of device: LinkDevice, by way: DivertAttachment, _ kernel: FeatureSupport,
    _ discipline: FilterDiscipline?, _ filters: [DeviceFilter]
  ) -> KernelFeature {
    let name = "divert-\(way.rawValue)"
    if let refusal = refusal(of: device) { return KernelFeature(name, refusal) }
    guard kernel == .supported, way == .clsact else {
      return KernelFeature(
        name, kernel, note: kernel == .supported ? "before all that is at \(device.name)" : nil)
    }
    if let obstacle = discipline?.obstacle(to: .outbound, of: device.name) {
      return KernelFeature(
        name, .unsupported(reason: "\(obstacle)", remedy: "TCX, where the kernel has it, serves"))
    }
    let others = filters.filter { ClsactFilter($0) == nil }
    let earlier = others.filter { other in
      let peers = others.filter { $0.direction == other.direction }
      return other.priority < ClsactFilter.priority(before: peers.map(\.priority))
    }
    let places = Set(earlier.map { "\($0.direction == .inbound ? "ingress" : "egress") filters" })
    return KernelFeature(
      name, kernel,
      note: "behind TCX programs, "
        + (places.isEmpty
          ? "before all other filters of \(device.name)"
          : "and behind \(places.sorted().joined(separator: " and ")) of priority 1"))
  }

  /// Why no frame of a device can be diverted, whatever the kernel has.
  private static func refusal(of device: LinkDevice) -> FeatureSupport? {
    switch device.medium {
    case .ethernet, .rawIP: nil
    case .loopback:
      .unsupported(
        reason: "each frame of \(device.name) would meet both directions at once",
        remedy: "use the IP or transport layers")
    case .other:
      .unsupported(
        reason: "\(device.name) is of the hardware type \(device.kind)",
        remedy: "use the IP or transport layers, or the device below it")
    }
  }

  static func features(of device: LinkDevice, _ divert: FeatureSupport) -> [KernelFeature] {
    if let refusal = refusal(of: device) {
      return [KernelFeature(ethernet, refusal), KernelFeature(native, refusal)]
    }
    guard device.medium == .rawIP else {
      return [KernelFeature(ethernet, divert), KernelFeature(native, divert)]
    }
    let refusal = FeatureSupport.unsupported(
      reason: "\(device.name) has frames without a MAC header",
      remedy: "use the layers \(native)")
    return [KernelFeature(ethernet, refusal), KernelFeature(native, divert)]
  }

  private static func tryDivert(
    by way: DivertAttachment?
  ) -> (support: FeatureSupport, priority: FeatureSupport) {
    let unknown = FeatureSupport.unknown(reason: "probing needs the helper device")
    do throws(DivertError) {
      let takesPriority = try DivertPort.tryHelper(by: way)
      return (
        .supported,
        takesPriority
          ? .supported
          : .unsupported(
            reason: "messages carry no priority before Linux 6.14",
            remedy: "none needed: frames of different priorities cost a call more")
      )
    } catch .notPermitted {
      let reason = "probing needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"
      return (.unknown(reason: reason), .unknown(reason: reason))
    } catch {
      let remedy =
        way == .tcx ? "clsact serves as well" : "without it there are no layers of MAC frames"
      return (.unsupported(reason: "\(error)", remedy: remedy), unknown)
    }
  }
}

extension DivertPort {
  /// Makes a helper and all that a divert needs, with the helper itself in the device's place;
  /// returns whether messages may carry their priority.
  fileprivate static func tryHelper(by way: DivertAttachment?) throws(DivertError) -> Bool {
    for capability in [Capability.netAdmin, .netRaw, .bpf] where !capability.isEffective {
      throw .notPermitted
    }
    let target = try TapDevice(for: 0, .inbound)
    var divert = try FrameDivert.open(
      FrameDivertOptions(
        device: target.index, direction: .inbound, injectedBit: 0x8000_0000, slots: 128,
        attachment: way))
    try divert.attach()
    return divert.port.takesPriority
  }
}
