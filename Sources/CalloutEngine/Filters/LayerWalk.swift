// SPDX-License-Identifier: Apache-2.0

package import PacketTagging
package import PacketViews

/// What of a packet tells which layers it meets at its hook.
@usableFromInline
package struct PacketTraits: OptionSet, Sendable, BitwiseCopyable {
  @usableFromInline package let rawValue: UInt8
  @inlinable package init(rawValue: UInt8) { self.rawValue = rawValue }
  /// An ICMP error, with the head of the packet that it is about.
  @inlinable package static var icmpError: PacketTraits { PacketTraits(rawValue: 1) }
  /// Neither of TCP nor an ICMP error.
  @inlinable package static var datagram: PacketTraits { PacketTraits(rawValue: 2) }
  /// The first packet of a flow that has not been authorized.
  @inlinable package static var firstOfFlow: PacketTraits { PacketTraits(rawValue: 4) }

  /// What the headers tell; nothing of flows.
  package init(_ layout: PacketLayout) {
    if layout.isICMPError {
      self = .icmpError
    } else {
      self = layout.transportProtocol == .tcp ? [] : .datagram
    }
  }
}

/// One of the layers that a packet meets at a hook.
package struct LayerStep: Sendable, BitwiseCopyable {
  package let layer: Layer
  let wanted: PacketTraits
  let unwanted: PacketTraits

  init(_ layer: Layer, wanted: PacketTraits = [], unwanted: PacketTraits = []) {
    self.layer = layer
    self.wanted = wanted
    self.unwanted = unwanted
  }

  /// Whether a packet of such traits meets the layer.
  package func isMet(by traits: PacketTraits) -> Bool {
    traits.isSuperset(of: wanted) && traits.isDisjoint(with: unwanted)
  }

  /// The layers that packets can meet at `hook`, in WFP's order.
  ///
  /// Inbound: transport, ICMP error, authorization, datagram. Outbound: authorization, datagram, and
  /// transport or ICMP error.
  package static func all(at hook: Hook, isIPv6: Bool) -> [LayerStep] {
    let datagram = LayerStep(isIPv6 ? .datagramDataV6 : .datagramDataV4, wanted: .datagram)
    let main = Layer(hook: hook, isIPv6: isIPv6)
    switch hook {
    case .input:
      return [
        LayerStep(main),
        LayerStep(isIPv6 ? .inboundICMPErrorV6 : .inboundICMPErrorV4, wanted: .icmpError),
        LayerStep(isIPv6 ? .aleAuthRecvAcceptV6 : .aleAuthRecvAcceptV4, wanted: .firstOfFlow),
        datagram,
      ]
    case .output:
      return [
        LayerStep(isIPv6 ? .aleAuthConnectV6 : .aleAuthConnectV4, wanted: .firstOfFlow),
        datagram,
        LayerStep(main, unwanted: .icmpError),
        LayerStep(isIPv6 ? .outboundICMPErrorV6 : .outboundICMPErrorV4, wanted: .icmpError),
      ]
    case .prerouting, .forward, .postrouting: return [LayerStep(main)]
    }
  }
}

/// The layers of a policy at each hook, as the packet path walks them.
struct LayerWalks: Sendable {
  private var steps: [LayerStep] = []
  private var places: [Range<Int32>] = []
  /// Whether any discard layer has filters.
  let hasDiscards: Bool
  /// Where other layers than the one of all packets have filters.
  private(set) var several = HookFamilies()

  /// The walks over the layers that have filters.
  init(_ hasFilters: (Layer) -> Bool) {
    hasDiscards = Layer.allCases.contains { $0.isDiscard && hasFilters($0) }
    for hook in Hook.allCases {
      for isIPv6 in [false, true] {
        let first = Int32(steps.count)
        let all = LayerStep.all(at: hook, isIPv6: isIPv6).filter { hasFilters($0.layer) }
        steps += all
        places.append(first..<Int32(steps.count))
        if all.contains(where: { $0.layer != Layer(hook: hook, isIPv6: isIPv6) }) {
          several.insert(hook, isIPv6: isIPv6)
        }
      }
    }
  }

  /// The positions of the layers that have filters, in the order in which they are met.
  @inline(__always)
  func positions(_ hook: Hook, isIPv6: Bool) -> Range<Int> {
    let place = places[HookFamilies.index(hook, isIPv6: isIPv6)]
    return Int(place.lowerBound)..<Int(place.upperBound)
  }

  subscript(_ position: Int) -> LayerStep { steps[position] }
}

/// A set of hooks, each for IPv4 or for IPv6.
@usableFromInline
package struct HookFamilies: Sendable, BitwiseCopyable {
  @usableFromInline var bits: UInt16 = 0

  @inlinable @inline(__always)
  package func contains(_ hook: UInt8, isIPv6: Bool) -> Bool {
    bits &>> (UInt16(hook) &* 2 &+ (isIPv6 ? 1 : 0)) & 1 != 0
  }

  mutating func insert(_ hook: Hook, isIPv6: Bool) {
    bits |= 1 << UInt16(Self.index(hook, isIPv6: isIPv6))
  }

  static func index(_ hook: Hook, isIPv6: Bool) -> Int {
    Int(hook.rawValue) * 2 + (isIPv6 ? 1 : 0)
  }
}

// Asked of the policy itself: a copy of the walks would be retained for each packet.
extension CompiledPolicy {
  /// The positions of the layers at a hook that have filters, in the order in which they are met.
  package func walk(_ hook: Hook, isIPv6: Bool) -> Range<Int> {
    walks.positions(hook, isIPv6: isIPv6)
  }

  /// The layer at a position of a walk.
  package func step(_ position: Int) -> LayerStep { walks[position] }
}

extension Layer {
  /// The layer under which a packet at `hook` is known when no other decides.
  package init(hook: Hook, isIPv6: Bool, _ traits: PacketTraits) {
    if hook == .output, traits.contains(.icmpError) {
      self = isIPv6 ? .outboundICMPErrorV6 : .outboundICMPErrorV4
    } else {
      self.init(hook: hook, isIPv6: isIPv6)
    }
  }
}
