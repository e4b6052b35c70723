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

  /// What the running kernel can do, whatever the device: a helper device, the programs, TCX, the
  /// ring and the sockets, all of them tried on a helper of its own.
  ///
  /// Disturbs nobody: it diverts nothing.
  public static func kernel() -> [KernelFeature] {
    let divert = tryDivert()
    return [
      KernelFeature(Self.divert, divert.support), KernelFeature(priority, divert.priority),
    ]
  }

  /// What each device of this thread's network namespace can have.
  public static func devices() throws(LinkError) -> [LinkFindings] {
    let divert = tryDivert().support
    return try LinkDevice.all().filter { !HelperDevices.isName($0.name) }.map { device in
      LinkFindings(device: device, features: features(of: device, divert))
    }
  }

  static func features(of device: LinkDevice, _ divert: FeatureSupport) -> [KernelFeature] {
    func refused(_ reason: String, _ remedy: String) -> FeatureSupport {
      .unsupported(reason: reason, remedy: remedy)
    }
    switch device.medium {
    case .ethernet:
      return [KernelFeature(ethernet, divert), KernelFeature(native, divert)]
    case .rawIP:
      return [
        KernelFeature(
          ethernet,
          refused(
            "\(device.name) has frames without a MAC header", "use the layers \(native)")),
        KernelFeature(native, divert),
      ]
    case .loopback:
      let answer = refused(
        "each frame of \(device.name) would meet both directions at once",
        "use the IP or transport layers")
      return [KernelFeature(ethernet, answer), KernelFeature(native, answer)]
    case .other:
      let answer = refused(
        "\(device.name) is of the hardware type \(device.kind)",
        "use the IP or transport layers, or the device below it")
      return [KernelFeature(ethernet, answer), KernelFeature(native, answer)]
    }
  }

  private static func tryDivert() -> (support: FeatureSupport, priority: FeatureSupport) {
    let unknown = FeatureSupport.unknown(reason: "probing needs the helper device")
    do throws(DivertError) {
      let takesPriority = try DivertPort.tryHelper()
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
      return (
        .unsupported(reason: "\(error)", remedy: "without it there are no layers of MAC frames"),
        unknown
      )
    }
  }
}

extension DivertPort {
  /// Makes a helper and all that a divert needs, with the helper itself in the device's place;
  /// returns whether messages may carry their priority.
  fileprivate static func tryHelper() throws(DivertError) -> Bool {
    for capability in [Capability.netAdmin, .netRaw, .bpf] where !capability.isEffective {
      throw .notPermitted
    }
    let target = try TapDevice(for: 0, .inbound)
    var divert = try FrameDivert.open(
      FrameDivertOptions(
        device: target.index, direction: .inbound, injectedBit: 0x8000_0000, slots: 128))
    try divert.attach()
    return divert.port.takesPriority
  }
}
