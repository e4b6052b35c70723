// SPDX-License-Identifier: Apache-2.0

/// One tag: a line of the answer to `tags`.
public struct TagReport: Codable, Sendable, Hashable {
  /// The tag's bits in hexadecimal.
  public var tag: String
  /// Its name: that of the callout which uses it.
  public var name: String
  /// What becomes of its contexts when the kernel copies a packet.
  public var onCopy: String
  /// Associations made under it.
  public var associated: UInt64
  /// Those that have not ended.
  public var live: UInt64
  /// Those that have.
  public var ended: UInt64

  /// A report.
  public init(
    tag: String, name: String, onCopy: String, associated: UInt64, live: UInt64, ended: UInt64
  ) {
    self.tag = tag
    self.name = name
    self.onCopy = onCopy
    self.associated = associated
    self.live = live
    self.ended = ended
  }

  enum CodingKeys: String, CodingKey {
    case tag, name
    case onCopy = "on-copy"
    case associated, live, ended
  }
}

/// One filter: a line of the answer to `filters`, in the policy's order.
public struct FilterReport: Codable, Sendable, Hashable {
  /// Its name.
  public var name: String
  /// The layer at which it works.
  public var layer: String
  /// Its sublayer.
  public var sublayer: String
  /// Its weight as a number.
  public var weight: UInt64
  /// Its conditions, as people read them.
  public var conditions: [String]
  /// What it does.
  public var action: String
  /// The callout it asks, if it asks one.
  @Nullable public var callout: String? = nil
  /// Its flags, such as "disabled".
  public var flags: [String]
  /// Packets that matched it in the workers since the policy came into force.
  public var hits: UInt64
  /// Packets that it has decided in the kernel, without a worker, since the daemon started.
  public var kernelHits: UInt64

  /// A report.
  public init(
    name: String, layer: String, sublayer: String, weight: UInt64, conditions: [String],
    action: String, callout: String?, flags: [String] = [], hits: UInt64,
    kernelHits: UInt64 = 0
  ) {
    self.flags = flags
    self.name = name
    self.layer = layer
    self.sublayer = sublayer
    self.weight = weight
    self.conditions = conditions
    self.action = action
    self.callout = callout
    self.hits = hits
    self.kernelHits = kernelHits
  }

  enum CodingKeys: String, CodingKey {
    case name, layer, sublayer, weight, conditions, action, callout, flags, hits
    case kernelHits = "kernel-hits"
  }
}

/// One callout: a line of the answer to `callouts`, in the policy's order.
public struct CalloutReport: Codable, Sendable, Hashable {
  /// Its name.
  public var name: String
  /// Its type.
  public var type: String
  /// The name of the tag it puts on packets, if it does.
  @Nullable public var tag: String? = nil
  /// How many filters name it.
  public var filters: Int
  /// Packets it has seen.
  public var packets: UInt64
  /// Their bytes.
  public var bytes: UInt64
  /// Packets for which it was refused what it does.
  public var refused: UInt64

  /// A report.
  public init(
    name: String, type: String, tag: String?, filters: Int, packets: UInt64, bytes: UInt64,
    refused: UInt64
  ) {
    self.name = name
    self.type = type
    self.tag = tag
    self.filters = filters
    self.packets = packets
    self.bytes = bytes
    self.refused = refused
  }
}

/// The answer to `reload`: the new policy is in force.
public struct ReloadReport: Codable, Sendable, Hashable {
  /// How many filters it has.
  public var filters: Int
  /// How many callouts it has.
  public var callouts: Int
  /// What the file says but only a restart changes.
  public var notes: [String]

  /// A report.
  public init(filters: Int, callouts: Int, notes: [String]) {
    self.filters = filters
    self.callouts = callouts
    self.notes = notes
  }
}
