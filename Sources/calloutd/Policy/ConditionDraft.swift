// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketTagging
internal import PacketViews
internal import Yams

/// The names of matches.
enum MatchName: String, CaseIterable {
  case equal, range, prefix
  case flagsAllSet = "flags-all-set"
  case flagsAnySet = "flags-any-set"
  case flagsNoneSet = "flags-none-set"

  /// What value the match takes.
  var takes: String {
    switch self {
    case .equal: "one value"
    case .range: "[first, last]"
    case .prefix: "address/length"
    case .flagsAllSet, .flagsAnySet, .flagsNoneSet: "names in a list, or a mask"
    }
  }
}

/// A condition while it is read: its value means something only with the field and the match.
struct ConditionDraft {
  var field: Field?
  var match: MatchName?
  var value: Node?
  var fieldPosition = SourcePosition.start
  var valuePosition = SourcePosition.start

  static var schema: PolicySchema<ConditionDraft> {
    PolicySchema([
      SchemaKey(
        "field", SchemaValue<Field>.field.optional, into: \.field, default: nil,
        example: "ip-remote-port", "what is tested"),
      SchemaKey(
        "match", SchemaValue<MatchName>.matchName.optional, into: \.match, default: nil,
        example: "range", "how"),
      SchemaKey(
        "value", SchemaValue<Node>("the value that the match takes") { node, _ in node }.optional,
        into: \.value, default: nil, example: "[53, 5353]", "with what"),
    ])
  }

  /// Reads one entry of `conditions`.
  static func read(_ node: Node, _ reader: inout PolicyReader) -> ConditionDraft? {
    var draft = ConditionDraft()
    draft.fieldPosition = (reader.value(of: "field", in: node) ?? node).position
    draft.valuePosition = (reader.value(of: "value", in: node) ?? node).position
    reader.read(node, by: schema, into: &draft)
    return draft
  }

  /// The condition for packets of `layer`, or nil with the reason reported.
  func resolve(at layer: Layer?, _ reader: inout PolicyReader) -> Condition? {
    guard let field, let match, let value else { return nil }
    switch match {
    case .equal:
      if case .sequence = value, field.valueType != .flags {
        reader.problems.report(
          "found a list, expected \(field.expected); for several values give several conditions",
          at: value.position)
        return nil
      }
      return number(value, field, layer, &reader).map { Condition(field, .equal($0)) }
    case .range:
      guard case .sequence(let list) = value, list.count == 2, let first = list.first,
        let last = list.last, field.valueType != .flags
      else {
        let expected =
          field.valueType == .flags
          ? "another match: flags have no order" : "a list of two: [first, last]"
        reader.problems.report(value, isNot: expected)
        return nil
      }
      guard let low = number(first, field, layer, &reader),
        let high = number(last, field, layer, &reader)
      else { return nil }
      return Condition(field, .range(low, high))
    case .prefix: return prefix(value, field, layer, &reader).map { Condition(field, .prefix($0)) }
    case .flagsAllSet: return bits(value, field, &reader).map { Condition(field, .flagsAllSet($0)) }
    case .flagsAnySet: return bits(value, field, &reader).map { Condition(field, .flagsAnySet($0)) }
    case .flagsNoneSet:
      return bits(value, field, &reader).map { Condition(field, .flagsNoneSet($0)) }
    }
  }

  private func number(
    _ node: Node, _ field: Field, _ layer: Layer?, _ reader: inout PolicyReader
  ) -> UInt128? {
    switch field.valueType {
    case .flags: return bits(node, field, &reader).map { UInt128($0) }
    case .address:
      guard let text = node.plainText, let address = IPAddress(text) else {
        reader.problems.report(node, isNot: field.expected)
        return nil
      }
      guard isRightFamily(address, layer, node, &reader) else { return nil }
      return UInt128(address.high) << 64 | UInt128(address.low)
    case .integer(let width):
      guard let text = node.plainText else { break }
      if field == .ipProtocol, let known = ProtocolName.table.first(where: { $0.name == text }) {
        return UInt128(known.number)
      }
      guard let value = UInt128(policyNumber: text), value >> UInt128(width) == 0 else { break }
      return value
    }
    reader.problems.report(node, isNot: field.expected)
    return nil
  }

  private func prefix(
    _ node: Node, _ field: Field, _ layer: Layer?, _ reader: inout PolicyReader
  ) -> IPPrefix? {
    guard field.valueType == .address else {
      reader.problems.report(
        "found the match prefix, expected another: \(field.name) is no address",
        at: node.position)
      return nil
    }
    guard let text = node.plainText, let prefix = IPPrefix(text) else {
      reader.problems.report(node, isNot: "an address and a length such as 10.0.0.0/8")
      return nil
    }
    return isRightFamily(prefix.address, layer, node, &reader) ? prefix : nil
  }

  private func bits(_ node: Node, _ field: Field, _ reader: inout PolicyReader) -> UInt32? {
    switch field.valueType {
    case .address:
      reader.problems.report(
        "found a match of flags, expected equal, range or prefix: \(field.name) is an address",
        at: node.position)
      return nil
    case .integer:
      return SchemaValue<UInt32>.number(0...(.max), of: "a mask").read(node, &reader)
    case .flags:
      let nodes: [Node]
      if case .sequence(let list) = node { nodes = Array(list) } else { nodes = [node] }
      var bits: UInt32 = 0
      for node in nodes {
        guard let flag = ConditionFlags.names.first(where: { $0.name == node.plainText }) else {
          reader.problems.report(node, isNot: field.expected)
          return nil
        }
        bits |= flag.flag.rawValue
      }
      return bits
    }
  }

  private func isRightFamily(
    _ address: IPAddress, _ layer: Layer?, _ node: Node, _ reader: inout PolicyReader
  ) -> Bool {
    guard let layer, (address.version == .v6) != layer.isIPv6 else { return true }
    reader.problems.report(
      node, isNot: "an IPv\(layer.isIPv6 ? 6 : 4) address, as the packets of \(layer.name) have")
    return false
  }
}

extension SchemaValue where Value == MatchName {
  /// A match's name.
  static var matchName: SchemaValue { .choice(MatchName.allCases.map { ($0.rawValue, $0) }) }
}

extension Field {
  /// What value it takes, in messages.
  var expected: String {
    switch self {
    case .ipProtocol: "a protocol's number up to 255 or its name such as udp"
    case .flags: "names of flags: " + ConditionFlags.names.map(\.name).joined(separator: ", ")
    default: typeName
    }
  }

  /// The type of its values, in a few words.
  var typeName: String {
    switch valueType {
    case .integer(let bits): "a number up to \(UInt64(1) << UInt64(bits) - 1)"
    case .address: "an address"
    case .flags: "flags"
    }
  }
}

/// The names of transport protocols.
struct ProtocolName {
  let name: String
  let number: UInt8

  static let table = [
    ("icmp", 1), ("igmp", 2), ("ipip", 4), ("tcp", 6), ("udp", 17), ("dccp", 33), ("ipv6", 41),
    ("gre", 47), ("esp", 50), ("ah", 51), ("icmpv6", 58), ("ospf", 89), ("vrrp", 112),
    ("l2tp", 115), ("sctp", 132), ("udplite", 136),
  ].map { ProtocolName(name: $0.0, number: $0.1) }
}
