// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import FirewallRules
internal import PacketTagging

/// The packets that a filter matches, as the kernel can say them: a product of ranges.
///
/// It speaks of packets that are no fragments and have no IPv6 extension headers; all others are
/// queued.
struct FilterBox {
  typealias Range = ClosedRange<UInt128>

  /// The ranges of each field that is not free.
  private(set) var ranges: [KernelField: [Range]] = [:]
  /// Whether it is these packets and no others; if not, it has more.
  private(set) var isExact = true
  /// The layer's family.
  let family: Families
  /// Elements that one filter may come to.
  static let mostElements = 1 << 16

  /// The packets of a filter; nil if no packet matches.
  init?(_ filter: Filter) {
    let layer = filter.layer
    family = layer.isIPv6 ? .ipv6 : .ipv4
    let known: FilterFlags = [.persistent, .clearActionRight, .permitIfCalloutUnregistered]
    if !filter.flags.subtracting(known).isEmpty { isExact = false }
    for (field, group) in Dictionary(grouping: filter.conditions, by: \.field) {
      let isPossible = field == .flags ? narrow(flags: group, layer) : narrow(field, group, layer)
      guard isPossible else { return nil }
    }
    ranges = ranges.filter { !isFree($0.key, $0.value) }
    shrink()
  }

  /// What a packet must be by conditions on one field; false if no packet can be.
  private mutating func narrow(_ field: Field, _ group: [Condition], _ layer: Layer) -> Bool {
    guard let place = KernelField(field, at: layer),
      let values = ValueRanges(group, upTo: field.largestValue(at: layer))
    else {
      isExact = false
      return true
    }
    switch place {
    case .sourcePort, .destinationPort:
      guard narrow(.transportProtocol, to: [6...6, 17...17, 132...132, 136...136]) else {
        return false
      }
    case .icmpType, .icmpCode:
      let number: UInt128 = family == .ipv6 ? 58 : 1
      guard narrow(.transportProtocol, to: [number...number]) else { return false }
    case .inputDevice, .outputDevice:
      // A packet without a device has no value for us, and 0 for the kernel.
      guard narrow(place, to: [1...0xffff_ffff]) else { return false }
    default: break
    }
    return narrow(place, to: values.ranges)
  }

  /// The only flag that such packets can have here is that of the loopback device.
  private mutating func narrow(flags group: [Condition], _ layer: Layer) -> Bool {
    let loopback = ConditionFlags.loopback.rawValue
    let known = loopback | ConditionFlags.fragment.rawValue
    var (accepts, acceptsLoopback) = (false, false)
    for condition in group {
      let test: (UInt32) -> Bool
      let named: UInt32
      switch condition.match {
      case .flagsAllSet(let bits): (named, test) = (bits, { $0 & bits == bits })
      case .flagsAnySet(let bits): (named, test) = (bits, { $0 & bits != 0 })
      case .flagsNoneSet(let bits): (named, test) = (bits, { $0 & bits == 0 })
      default: (named, test) = (.max, { _ in true })
      }
      guard named & ~known == 0 else {
        isExact = false
        return true
      }
      accepts = accepts || test(0)
      acceptsLoopback = acceptsLoopback || test(loopback)
    }
    guard accepts != acceptsLoopback else { return accepts }
    let device: KernelField
    switch layer.hook {
    case .prerouting, .input: device = .inputDevice
    case .output: device = .outputDevice
    default:
      isExact = false
      return true
    }
    return narrow(device, to: acceptsLoopback ? [1...1] : [0...0, 2...0xffff_ffff])
  }

  /// Keeps the values that are in `wanted` too; false if there are none.
  private mutating func narrow(_ field: KernelField, to wanted: [Range]) -> Bool {
    let held = ranges[field] ?? [0...field.largestValue(family)]
    let common = held.flatMap { one in
      wanted.compactMap { other -> Range? in
        let low = max(one.lowerBound, other.lowerBound)
        let high = min(one.upperBound, other.upperBound)
        return low <= high ? low...high : nil
      }
    }
    ranges[field] = common
    return !common.isEmpty
  }

  /// Every packet has such a value.
  private func isFree(_ field: KernelField, _ held: [Range]) -> Bool {
    switch field {
    case .sourceAddress, .destinationAddress, .transportProtocol:
      held == [0...field.largestValue(family)]
    default: false
    }
  }

  /// Leaves out the fields that are too much for the kernel's tables.
  private mutating func shrink() {
    func elements() -> Int {
      ranges.values.reduce(1) { min($0 * $1.count, Self.mostElements + 1) }
    }
    while ranges.count > KernelMap.maximumFields || elements() > Self.mostElements {
      guard let most = ranges.max(by: { ($0.value.count, $0.key) < ($1.value.count, $1.key) })
      else { return }
      ranges[most.key] = nil
      isExact = false
    }
  }

  /// The fields that are not free, in ascending order.
  var fields: [KernelField] { ranges.keys.sorted() }

  /// The box cut into products of one range each, in the order of ``fields``.
  var products: [[Range]] {
    fields.reduce([[]]) { products, field in
      let each = ranges[field] ?? []
      return products.flatMap { product in each.map { product + [$0] } }
    }
  }
}

extension KernelField {
  /// Where the kernel finds a field of a layer's packets, nil if nowhere.
  fileprivate init?(_ field: Field, at layer: Layer) {
    let isInbound = layer.hook == .prerouting || layer.hook == .input
    switch field {
    case .ipProtocol: self = .transportProtocol
    case .ipSourceAddress: self = .sourceAddress
    case .ipDestinationAddress: self = .destinationAddress
    case .ipLocalAddress: self = isInbound ? .destinationAddress : .sourceAddress
    case .ipRemoteAddress: self = isInbound ? .sourceAddress : .destinationAddress
    case .ipSourcePort: self = .sourcePort
    case .ipDestinationPort: self = .destinationPort
    case .ipLocalPort: self = isInbound ? .destinationPort : .sourcePort
    case .ipRemotePort: self = isInbound ? .sourcePort : .destinationPort
    case .icmpType: self = .icmpType
    case .icmpCode: self = .icmpCode
    case .interfaceIndex: self = isInbound ? .inputDevice : .outputDevice
    case .sourceInterfaceIndex: self = .inputDevice
    case .destinationInterfaceIndex: self = .outputDevice
    // nft finds owners where the queue tells none, and in another user namespace's numbers.
    default: return nil
    }
  }
}
