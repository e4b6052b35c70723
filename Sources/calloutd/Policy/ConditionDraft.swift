// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketTagging
internal import PacketViews
internal import Yams

/// The names of matches.
enum MatchName: String, CaseIterable {
  case equal, range, prefix, masked
  case flagsAllSet = "flags-all-set"
  case flagsAnySet = "flags-any-set"
  case flagsNoneSet = "flags-none-set"

  /// What value the match takes.
  var takes: String {
    switch self {
    case .equal: "one value"
    case .range: "[first, last]"
    case .prefix: "address/length"
    case .masked: "value/mask"
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
    reader.read(node, by: reader.conditionSchema, into: &draft)
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
    case .prefix: return prefix(value, field, layer, &reader)
    case .masked: return masked(value, field, layer, &reader)
    case .flagsAllSet: return bits(value, field, &reader).map { Condition(field, .flagsAllSet($0)) }
    case .flagsAnySet: return bits(value, field, &reader).map { Condition(field, .flagsAnySet($0)) }
    case .flagsNoneSet:
      return bits(value, field, &reader).map { Condition(field, .flagsNoneSet($0)) }
    }
  }
}

extension SchemaValue where Value == MatchName {
  /// A match's name.
  static var matchName: SchemaValue { .choice(MatchName.allCases.map { ($0.rawValue, $0) }) }
}
