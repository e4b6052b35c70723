// SPDX-License-Identifier: Apache-2.0

/// What the kernel decides by itself at one hook for one family, so that only the rest is queued.
///
/// A packet of `markMask`, a fragment, one with IPv6 extension headers and one that `selection`
/// matches are queued. Any other runs through the sublayers: in each the first map in which it has
/// an element says what becomes of it; where none has, the next sublayer is asked. Behind the last
/// it goes on. Nothing here ever accepts: packets that go on meet the rules of others.
public struct KernelProgram: Sendable, Hashable {
  /// Where the packets are met.
  public var hook: RuleHook
  /// ``Families/ipv4`` or ``Families/ipv6``.
  public var family: Families
  /// Packets whose mark has one of these bits are queued; 0 for none.
  public var markMask: UInt32 = 0
  /// Packets that match any element are queued; the elements' verdicts mean nothing.
  public var selection: [KernelMap]
  /// The bands of filters, the first to be asked first.
  public var sublayers: [[KernelMap]]
  /// Packets that match nothing here are queued too: only the bypass passes any.
  public var queuesAll = false
  /// Nothing is queued, for nobody listens: mark, fragments, extension headers and ``selection`` mean
  /// nothing, and what no map blocks goes on.
  public var queuesNothing = false
  /// What becomes of flows that no callout has to see any more; it comes before the selection.
  public var bypass: FlowBypass?

  /// A program.
  public init(
    hook: RuleHook, family: Families, selection: [KernelMap], sublayers: [[KernelMap]]
  ) {
    self.hook = hook
    self.family = family
    self.selection = selection
    self.sublayers = sublayers
  }

  /// Whether the kernel takes so many sublayers: it follows 16 chains in a row.
  public var isWithinLimits: Bool {
    [sublayers, bypass?.sublayers ?? []].allSatisfy { sublayers in
      sublayers.count { $0.contains(where: \.permitsForGood) } <= 10
    }
  }

  /// The chain that packets of a family enter, whose name all names of the program begin with.
  static func entry(_ hook: RuleHook, _ family: Families) -> String {
    prefix + "\(hook.name)_\(family)"
  }

  /// What the names of all chains and maps of programs begin with.
  static let prefix = "kf_"
}

/// One header field or property of a packet that a map looks at.
public enum KernelField: UInt8, Sendable, Hashable, CaseIterable, Comparable {
  /// The source address of the IP header.
  case sourceAddress
  /// The destination address of the IP header.
  case destinationAddress
  /// The protocol number behind the IP headers.
  case transportProtocol
  /// The first two bytes of the transport header.
  case sourcePort
  /// The next two bytes of the transport header.
  case destinationPort
  /// The first byte of the transport header.
  case icmpType
  /// The second byte of the transport header.
  case icmpCode
  /// The index of the device of arrival.
  case inputDevice
  /// The index of the device of departure.
  case outputDevice
  /// The next-header field of the IPv6 header itself.
  case nextHeader

  /// Orders fields as a map's key has them.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  /// Bytes of a value.
  public func length(_ family: Families) -> Int {
    switch self {
    case .sourceAddress, .destinationAddress: family == .ipv6 ? 16 : 4
    case .transportProtocol, .icmpType, .icmpCode, .nextHeader: 1
    case .sourcePort, .destinationPort: 2
    case .inputDevice, .outputDevice: 4
    }
  }
}

/// A table of disjoint boxes, each with its own counter.
///
/// Corresponds to a verdict map with a concatenated key.
public struct KernelMap: Sendable, Hashable {
  /// What is looked at, in ascending order; ``maximumFields`` at most.
  public var fields: [KernelField]
  /// The boxes, of which no two overlap.
  public var elements: [KernelElement]

  /// The most fields of one map: nft cannot list more.
  public static let maximumFields = 5

  /// A map.
  public init(fields: [KernelField], elements: [KernelElement]) {
    self.fields = fields
    self.elements = elements
  }

  /// Every element is a single value in each field.
  var isExact: Bool {
    elements.allSatisfy { $0.ranges.allSatisfy { $0.lowerBound == $0.upperBound } }
  }

  /// The same with a second field that says nothing, where the kernel wants two.
  ///
  /// Its quick tables of ranges, and the only ones that list what was put into them, have two
  /// fields at least. Corresponds to `NFT_PIPAPO_MIN_FIELDS`.
  func padded(_ family: Families) -> KernelMap {
    guard fields.count < 2, !isExact || fields.isEmpty else { return self }
    var map = self
    for field in [KernelField.transportProtocol, .destinationAddress]
    where map.fields.count < 2 && !fields.contains(field) {
      let place = map.fields.firstIndex { field < $0 } ?? map.fields.count
      map.fields.insert(field, at: place)
      let all = 0...field.largestValue(family)
      for index in map.elements.indices { map.elements[index].ranges.insert(all, at: place) }
    }
    return map
  }
}

extension KernelField {
  /// The largest value of so many bytes.
  public func largestValue(_ family: Families) -> UInt128 {
    .max >> UInt128(128 - 8 * length(family))
  }
}

/// One box of a map.
public struct KernelElement: Sendable, Hashable {
  /// A range for each field of the map, in host order.
  public var ranges: [ClosedRange<UInt128>]
  /// What becomes of a packet in the box.
  public var verdict: KernelVerdict
  /// Which filter of the policy it counts for.
  public var filter: Int
  /// The filter's name, shown by `nft list`.
  public var name: String

  /// A box.
  public init(
    ranges: [ClosedRange<UInt128>], verdict: KernelVerdict, filter: Int, name: String
  ) {
    self.ranges = ranges
    self.verdict = verdict
    self.filter = filter
    self.name = name
  }
}

/// What the kernel does with a packet.
public enum KernelVerdict: UInt8, Sendable, Hashable {
  /// Drop it.
  case block
  /// Ask the next sublayer.
  case permit
  /// Let it go on, whatever lower sublayers would say.
  case permitForGood
}
