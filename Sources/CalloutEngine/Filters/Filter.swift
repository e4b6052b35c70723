// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
internal import PacketViews

/// A band of filters that is evaluated as a whole; higher weights first.
///
/// Mirrors `FWPM_SUBLAYER0`.
public struct Sublayer: Sendable, Hashable {
  /// Its name, unique in a policy.
  public var name: String
  /// What it is known by; nil: chosen when it is added.
  public var key: ObjectKey?
  /// Its place among the sublayers.
  public var weight: UInt16
  /// The provider that it belongs to, nil for none.
  public var provider: String?
  /// Whether it outlives the process if a session adds it.
  ///
  /// Mirrors `FWPM_SUBLAYER_FLAG_PERSISTENT`.
  public var isPersistent: Bool

  /// A sublayer.
  public init(
    name: String, key: ObjectKey? = nil, weight: UInt16, provider: String? = nil,
    isPersistent: Bool = false
  ) {
    self.name = name
    self.key = key
    self.weight = weight
    self.provider = provider
    self.isPersistent = isPersistent
  }
}

/// Where a filter stands among those of its sublayer; higher first.
public enum FilterWeight: Sendable, Hashable {
  /// This number.
  case explicit(UInt64)
  /// By how much the conditions select, below every explicit weight of 2^60 and more.
  case automatic
  /// One of 16 bands; automatic inside it.
  case range(UInt8)
}

/// What a matching filter does.
///
/// Mirrors `FWP_ACTION_*`.
public enum FilterAction: Sendable, Hashable {
  /// Let the packet go on; a lower sublayer may still block it.
  case permit
  /// Drop the packet for good.
  case block
  /// Ask a callout, which must say permit or block.
  case calloutTerminating(String)
  /// Show the packet to a callout, whose answer is not asked.
  case calloutInspection(String)
  /// Ask a callout, which may also say continue.
  case calloutUnknown(String)

  /// The callout that is asked, if one is.
  public var callout: String? {
    switch self {
    case .permit, .block: nil
    case .calloutTerminating(let name), .calloutInspection(let name), .calloutUnknown(let name):
      name
    }
  }

  /// Its name in policy files, without the callout.
  package var name: String {
    switch self {
    case .permit: "permit"
    case .block: "block"
    case .calloutTerminating: "callout-terminating"
    case .calloutInspection: "callout-inspection"
    case .calloutUnknown: "callout-unknown"
    }
  }
}

/// How a filter differs from others, under WFP's values.
///
/// Mirrors `FWPM_FILTER_FLAG_*`.
public struct FilterFlags: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The bits.
  public let rawValue: UInt32
  /// From bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// It is still there after a restart.
  public static let persistent = FilterFlags(rawValue: 0x01)
  /// It works until the engine starts.
  public static let bootTime = FilterFlags(rawValue: 0x02)
  /// Its permit is hard: only a callout's veto overrides it.
  public static let clearActionRight = FilterFlags(rawValue: 0x08)
  /// It permits, where it would block, as long as its callout is not registered.
  public static let permitIfCalloutUnregistered = FilterFlags(rawValue: 0x10)
  /// It is there but matches nothing.
  public static let disabled = FilterFlags(rawValue: 0x20)

  /// The names in policy files.
  public static let names: [(name: String, flag: FilterFlags)] = [
    ("persistent", .persistent), ("boot-time", .bootTime),
    ("clear-action-right", .clearActionRight),
    ("permit-if-callout-unregistered", .permitIfCalloutUnregistered), ("disabled", .disabled),
  ]

  /// The names of those that are set.
  package var setNames: [String] { Self.names.filter { contains($0.flag) }.map(\.name) }
}

/// At one layer: which packets, and what to do with them.
///
/// Mirrors `FWPM_FILTER0`.
public struct Filter: Sendable, Hashable {
  /// Its name, for people.
  public var name: String
  /// What it is known by; nil: chosen when a session adds it.
  public var key: ObjectKey?
  /// The layer at which it works.
  public var layer: Layer
  /// The sublayer it belongs to.
  public var sublayer: String
  /// Its place in the sublayer.
  public var weight: FilterWeight
  /// What packets must be; none: every packet.
  public var conditions: [Condition]
  /// What happens to them.
  public var action: FilterAction
  /// The provider that it belongs to, nil for none.
  public var provider: String?
  /// How it differs from others.
  public var flags: FilterFlags
  /// What it has for its callout.
  public var context: FilterContext

  /// A filter.
  public init(
    name: String, key: ObjectKey? = nil, layer: Layer, sublayer: String = "default",
    weight: FilterWeight = .automatic, conditions: [Condition] = [], action: FilterAction,
    provider: String? = nil, flags: FilterFlags = [], context: FilterContext = .none
  ) {
    self.name = name
    self.key = key
    self.layer = layer
    self.sublayer = sublayer
    self.weight = weight
    self.conditions = conditions
    self.action = action
    self.provider = provider
    self.flags = flags
    self.context = context
  }

  /// The weight as a number.
  public var effectiveWeight: UInt64 {
    switch weight {
    case .explicit(let weight): weight
    case .automatic: specificity
    case .range(let band): UInt64(min(band, 15)) << 60 | specificity
    }
  }

  /// Grows with the bits that the conditions fix; below 2^60.
  ///
  /// Of several conditions on one field the least telling counts: any of them is enough.
  private var specificity: UInt64 {
    guard conditions.count > 1 else { return conditions.first?.match.fixedBits ?? 0 }
    var least: [Field: UInt64] = [:]
    for condition in conditions {
      let bits = condition.match.fixedBits
      least[condition.field] = min(least[condition.field] ?? bits, bits)
    }
    return least.values.reduce(0, +)
  }
}

extension Condition.Match {
  /// How many bits the match fixes, of 128 for a value as a whole.
  fileprivate var fixedBits: UInt64 {
    switch self {
    case .equal: 128
    case .prefix(let prefix): UInt64(prefix.length) * 128 / UInt64(prefix.address.bitWidth)
    case .masked(_, let mask): UInt64(mask.nonzeroBitCount)
    case .range, .greater, .less, .greaterOrEqual, .lessOrEqual: 64
    case .notEqual, .notPrefix: 1
    case .flagsAllSet(let set), .flagsAnySet(let set), .flagsNoneSet(let set):
      UInt64(set.nonzeroBitCount)
    case .blob(.equal): 128
    case .blob(.prefix), .blob(.range), .blob(.greater), .blob(.less), .blob(.greaterOrEqual),
      .blob(.lessOrEqual):
      64
    case .blob(.notEqual), .blob(.notPrefix): 1
    }
  }
}
