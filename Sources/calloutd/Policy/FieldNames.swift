// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketViews

/// A number that policy files may give by a name.
struct NumberName {
  let name: String
  let number: UInt128

  /// The names of transport protocols.
  static let protocols = [
    ("icmp", 1), ("igmp", 2), ("ipip", 4), ("tcp", 6), ("udp", 17), ("dccp", 33), ("ipv6", 41),
    ("gre", 47), ("esp", 50), ("ah", 51), ("icmpv6", 58), ("ospf", 89), ("vrrp", 112),
    ("l2tp", 115), ("sctp", 132), ("udplite", 136),
  ].map { NumberName(name: $0.0, number: $0.1) }

  /// The names of EtherTypes.
  static let etherTypes = [
    ("ipv4", 0x0800), ("arp", 0x0806), ("ipv6", 0x86dd), ("eapol", 0x888e), ("lldp", 0x88cc),
    ("macsec", 0x88e5), ("mpls", 0x8847), ("pppoe-discovery", 0x8863), ("pppoe-session", 0x8864),
    ("profinet", 0x8892), ("ptp", 0x88f7),
  ].map { NumberName(name: $0.0, number: $0.1) }

  /// The names of what Ethernet addresses name.
  static let addressTypes = [("unicast", 0), ("multicast", 1), ("broadcast", 2)].map {
    NumberName(name: $0.0, number: $0.1)
  }
}

extension Field {
  /// The names that the field's numbers have.
  var numberNames: [NumberName] {
    switch self {
    case .ipProtocol: NumberName.protocols
    case .etherType: NumberName.etherTypes
    case .macLocalAddressType, .macRemoteAddressType, .macSourceAddressType,
      .macDestinationAddressType:
      NumberName.addressTypes
    default: []
    }
  }

  /// The number that a word stands for: a name, an Ethernet address, or digits; nil if it does not
  /// fit the field.
  func value(_ text: String) -> UInt128? {
    switch valueType {
    case .macAddress: return MACAddress(text).map { UInt128($0.rawValue) }
    case .integer(let width):
      if let known = numberNames.first(where: { $0.name == text }) { return known.number }
      guard let value = UInt128(policyNumber: text), value >> UInt128(width) == 0 else {
        return nil
      }
      return value
    case .address, .flags, .blob: return nil
    }
  }

  /// What value it takes, in messages.
  var expected: String {
    switch self {
    case .ipProtocol: "a protocol's number up to 255 or its name such as udp"
    case .etherType: "an EtherType's number such as 0x88cc or its name such as arp"
    case .macLocalAddressType, .macRemoteAddressType, .macSourceAddressType,
      .macDestinationAddressType:
      "unicast, multicast or broadcast"
    case .flags, .l2Flags: "names of flags: " + flagNames.map(\.name).joined(separator: ", ")
    default: typeName
    }
  }

  /// The type of its values, in a few words.
  var typeName: String {
    switch valueType {
    case .integer(let bits): "a number up to \(UInt64.max >> UInt64(64 - bits))"
    case .address: "an address"
    case .macAddress: "an Ethernet address such as 02:00:00:00:00:01"
    case .flags: "flags"
    case .blob: "a program's path such as /usr/bin/curl"
    }
  }
}
