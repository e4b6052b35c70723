// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import CalloutEngine
internal import FirewallRules
internal import PacketTagging
internal import PacketViews

extension SchemaValue where Value == Duration {
  /// A duration of at most `limit`.
  static func duration(
    atMost limit: Duration = .seconds(3600), orZero: Bool = false
  ) -> SchemaValue {
    .word("a duration such as 200ms, 5s or 1m, \(orZero ? "" : "above 0 and ")up to an hour") {
      guard let duration = Duration(text: $0), duration <= limit,
        orZero || duration > .zero
      else { return nil }
      return duration
    }
  }
}

extension SchemaValue where Value == EventRate {
  /// A rate such as 10/s.
  static var rate: SchemaValue {
    .word("a rate such as 10/s, 5/m or 1/h") { text in
      let parts = text.split(separator: "/", omittingEmptySubsequences: false)
      let periods: [Substring: Duration] = [
        "s": .seconds(1), "m": .seconds(60), "h": .seconds(3600),
      ]
      guard parts.count == 2, let count = UInt32(parts[0]), (1...1_000_000).contains(count),
        let period = periods[parts[1]]
      else { return nil }
      return EventRate(count, per: period)
    }
  }
}

extension SchemaValue where Value == Bool {
  /// true or false.
  static var boolean: SchemaValue { .choice([("true", true), ("false", false)]) }
}

extension SchemaValue where Value == BridgeConfiguration.MarkChoice {
  /// What `mark.mask` takes.
  static var markMask: SchemaValue {
    let mask = SchemaValue.word("a mask of 8 to 24 neighbouring bits such as 0x0fff0000") { text in
      guard let number = UInt128(policyNumber: text), let mask = UInt32(exactly: number),
        MarkField(mask: mask) != nil
      else { return nil }
      return .mask(mask)
    }
    return mask.or("off", .off).or("auto", .automatic)
  }
}

extension SchemaValue where Value == BridgeConfiguration.FlowBypassChoice {
  /// What `rules.flow-bypass` takes.
  static var flowBypass: SchemaValue {
    let mask = SchemaValue.word("a mask of 8 to 24 neighbouring bits such as 0x0fff0000") { text in
      guard let number = UInt128(policyNumber: text), let mask = UInt32(exactly: number),
        MarkField(mask: mask) != nil
      else { return nil }
      return .mask(mask)
    }
    return mask.or("off", .off).or("auto", .automatic)
  }
}

extension SchemaValue where Value == RuleBackend? {
  /// What `rules.backend` takes.
  static var ruleBackend: SchemaValue {
    .choice([("auto", nil)] + RuleBackend.allCases.map { ($0.rawValue, $0) })
  }
}

extension SchemaValue where Value == FailurePolicy {
  /// What `queues.on-failure` takes.
  static var failurePolicy: SchemaValue {
    .choice(FailurePolicy.allCases.map { ($0.rawValue, $0) })
  }
}

extension SchemaValue where Value == CopyDisposition {
  /// What `on-copy` takes.
  static var copyDisposition: SchemaValue {
    .choice(CopyDisposition.allCases.map { ($0.policyName, $0) })
  }
}

extension CopyDisposition {
  /// The name in policy files.
  var policyName: String {
    switch self {
    case .share: "share"
    case .move: "move"
    case .detach: "detach"
    }
  }
}

extension SchemaValue where Value == TagCallout.Context {
  /// What a tag callout's `context` takes.
  static var context: SchemaValue {
    let number = SchemaValue.word("a number up to 2^64 - 1") { text in
      UInt128(policyNumber: text).flatMap { UInt64(exactly: $0) }.map { .fixed($0) }
    }
    return number.or("flow-hash", .flowHash).or("sequence", .sequence)
  }
}

extension SchemaValue where Value == IPAddress {
  /// An IPv4 or IPv6 address.
  static var address: SchemaValue {
    .word("an IPv4 or IPv6 address", IPAddress.init)
  }
}

extension SchemaValue where Value == MACAddress {
  /// An Ethernet address.
  static var macAddress: SchemaValue {
    .word("an Ethernet address such as 02:00:00:00:00:01", MACAddress.init)
  }
}

extension SchemaValue where Value == EtherType {
  /// An EtherType, by name or number.
  static var etherType: SchemaValue {
    .word("an EtherType such as 0x88cc or arp, from 0x600 on and no VLAN tag's") { text in
      guard let number = Field.etherType.value(text) else { return nil }
      let type = EtherType(rawValue: UInt16(truncatingIfNeeded: number))
      return type.rawValue < 0x600 || type.isVLAN ? nil : type
    }
  }
}

extension SchemaValue where Value == Layer {
  /// A layer's name.
  static var layer: SchemaValue {
    .word("a layer: " + Layer.packetLayers.map(\.name).joined(separator: ", ")) {
      Layer(name: $0)
    }
  }
}

extension Layer {
  /// The layers at which filters can stand.
  static var packetLayers: [Layer] { allCases.filter(\.acceptsFilters) }
}

extension SchemaValue where Value == Field {
  /// A field's name.
  static var field: SchemaValue {
    .word("a field: " + Field.allCases.map(\.name).joined(separator: ", ")) { Field(name: $0) }
  }
}

/// Where the metrics are served.
struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
  var address: IPAddress
  var port: UInt16

  /// An address and a port: 127.0.0.1:9469 or [::1]:9469.
  init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"),
      let port = UInt16(text[text.index(after: colon)...])
    else { return nil }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
      guard host.contains(":") else { return nil }
    } else if host.contains(":") {
      return nil
    }
    guard let address = IPAddress(String(host)) else { return nil }
    self.address = address
    self.port = port
  }

  var description: String {
    address.version == .v6 ? "[\(address)]:\(port)" : "\(address):\(port)"
  }
}

extension SchemaValue where Value == ListenAddress? {
  /// What `metrics.listen` takes.
  static var listenAddress: SchemaValue {
    SchemaValue<ListenAddress>.word(
      "an address and a port such as 127.0.0.1:9469 or [::1]:9469", ListenAddress.init
    ).optional.or("none", nil)
  }
}
