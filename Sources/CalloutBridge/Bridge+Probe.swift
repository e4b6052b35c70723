// SPDX-License-Identifier: Apache-2.0

internal import CalloutLifecycle
internal import FirewallRules
public import Kernel
public import LinkLayer
internal import NetfilterQueue
internal import PacketTagging

extension Bridge {
  /// Finds out what the running kernel lets Callout do here; changes nothing.
  public static func probe() async -> [KernelFeature] {
    var features = Capability.allCases.map(probe)
    features.append(probeQueue("nfqueue", includesConntrack: false))
    features.append(probeQueue("nfqueue-conntrack", includesConntrack: true))
    features += RuleBackend.allCases.map(probe)
    features.append(probeBridges())
    features.append(await probeMark())
    features += KernelObserver.probe()
    features.append(probeInjection("inject-ipv4", isIPv6: false))
    features.append(probeInjection("inject-ipv6", isIPv6: true))
    return features + LinkProbe.kernel()
  }

  /// Finds out which layers of frames each interface of this network namespace can have; diverts
  /// nothing.
  public static func probeInterfaces() throws(BridgeError) -> [LinkFindings] {
    do throws(LinkError) {
      return try LinkProbe.devices()
    } catch {
      switch error {
      case .system(let error): throw .system(error)
      }
    }
  }

  private static func probe(_ capability: Capability) -> KernelFeature {
    let name = capability.name.lowercased().replacing("_", with: "-")
    guard !capability.isEffective else { return KernelFeature(name, .supported) }
    return KernelFeature(
      name,
      .unsupported(
        reason: "the process lacks \(capability.name)",
        remedy: "run as root, or add it to the service's capabilities"))
  }

  /// Binds the highest free queue for a moment; no rule names it, so no packet meets it.
  private static func probeQueue(_ name: String, includesConntrack: Bool) -> KernelFeature {
    let taken = Set(QueueStatus.all().map(\.number))
    guard let number = (1...UInt16.max).reversed().first(where: { !taken.contains($0) }) else {
      return KernelFeature(name, .unknown(reason: "all queues are bound"))
    }
    do {
      var socket = try QueueSocket.open(
        QueueOptions(number: number, maximumLength: 1, includesConntrack: includesConntrack))
      socket.unbind()
      return KernelFeature(name, .supported)
    } catch {
      switch error {
      case .notPermitted:
        return KernelFeature(name, .unknown(reason: "probing needs CAP_NET_ADMIN"))
      case .flagRefused:
        return KernelFeature(
          name,
          .unsupported(
            reason: "the kernel refuses NFQA_CFG_F_CONNTRACK",
            remedy: "use a kernel with CONFIG_NETFILTER_NETLINK_GLUE_CT; without it, conntrack "
              + "fields are absent"))
      case .unsupported, .owned, .notReconfigured, .system:
        return KernelFeature(
          name,
          .unsupported(
            reason: error.description,
            remedy: "load nfnetlink_queue, or use a kernel with CONFIG_NETFILTER_NETLINK_QUEUE"))
      }
    }
  }

  private static func probe(_ backend: RuleBackend) -> KernelFeature {
    let name = "rules-\(backend.rawValue)"
    guard Capability.netAdmin.isEffective else {
      return KernelFeature(name, .unknown(reason: "probing needs CAP_NET_ADMIN"))
    }
    do {
      try backend.check()
      return KernelFeature(name, .supported)
    } catch {
      return KernelFeature(
        name, .unsupported(reason: error.description, remedy: remedy(for: backend)))
    }
  }

  /// Whether frames that cross bridges can be queued, which the layers of virtual switches need.
  private static func probeBridges() -> KernelFeature {
    let name = "vswitch-ethernet"
    guard Capability.netAdmin.isEffective else {
      return KernelFeature(name, .unknown(reason: "probing needs CAP_NET_ADMIN"))
    }
    do {
      try RuleBackend.nft.checkFrames()
      return KernelFeature(name, .supported)
    } catch .noBridgeQueue(let reason) {
      return KernelFeature(
        name,
        .unsupported(
          reason: reason,
          remedy: "load nft_queue and use a kernel with CONFIG_NFT_QUEUE and "
            + "CONFIG_NF_TABLES_BRIDGE; the MAC layers of the bridge's ports serve as well"))
    } catch {
      return KernelFeature(name, .unknown(reason: error.description))
    }
  }

  private static func remedy(for backend: RuleBackend) -> String {
    switch backend {
    case .nft: "load nft_queue, or use a kernel with CONFIG_NFT_QUEUE; nft-compat serves as well"
    case .nftCompat:
      "load nft_compat and xt_NFQUEUE, or use a kernel with CONFIG_NFT_COMPAT and "
        + "CONFIG_NETFILTER_XT_TARGET_NFQUEUE"
    case .iptables: "install iptables; it is needed only where nft cannot queue"
    }
  }

  private static func probeMark() async -> KernelFeature {
    do {
      let uses = try await MarkScan.scan()
      guard let mask = MarkScan.freeField(in: uses), MarkField(mask: mask) != nil else {
        return KernelFeature(
          "mark-field",
          .unsupported(
            reason: "other rules use the mark: " + uses.map(\.description).joined(separator: "; "),
            remedy: "give mark.mask, or free 8 bits in a row"))
      }
      return KernelFeature("mark-field", .supported)
    } catch {
      return KernelFeature("mark-field", .unknown(reason: error.description))
    }
  }

  private static func probeInjection(_ name: String, isIPv6: Bool) -> KernelFeature {
    do {
      _ = try RawIPSocket(isIPv6: isIPv6)
      return KernelFeature(name, .supported)
    } catch {
      return KernelFeature(
        name,
        .unsupported(reason: error.description, remedy: "add CAP_NET_RAW; only clones need it"))
    }
  }
}
