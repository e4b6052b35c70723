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
  case notEqual = "not-equal"
  case notPrefix = "not-prefix"
  case greater, less
  case greaterOrEqual = "greater-or-equal"
  case lessOrEqual = "less-or-equal"

  /// What value the match takes.
  var takes: String {
    switch self {
    case .equal: "a value, or a list: any of them"
    case .range: "[first, last], or a list of such"
    case .prefix: "address/length or the beginning of a path, or a list of such"
    case .masked: "value/mask, or a list of such"
    case .notEqual, .greater, .less, .greaterOrEqual, .lessOrEqual: "one value"
    case .notPrefix: "address/length or the beginning of a path"
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

  /// The conditions for packets of `layer`, or nil with the reason reported.
  ///
  /// A list of values is a set: as many conditions, of which one must hold.
  func resolve(at layer: Layer?, _ reader: inout PolicyReader) -> [Condition]? {
    guard let field, let match, let value else { return nil }
    let nodes = values(value, match, field)
    guard !nodes.isEmpty else {
      reader.problems.report(value, isNot: "at least one value")
      return nil
    }
    var conditions: [Condition] = []
    for node in nodes {
      guard let condition = resolve(node, match, field, layer, &reader) else { return nil }
      conditions.append(condition)
    }
    return conditions
  }

  /// The values of a set; the value itself where it is none.
  private func values(_ value: Node, _ match: MatchName, _ field: Field) -> [Node] {
    guard case .sequence(let list) = value else { return [value] }
    switch match {
    case .equal, .masked: return field.valueType == .flags ? [value] : Array(list)
    case .prefix: return Array(list)
    case .range:
      if case .sequence = list.first { return Array(list) }
      return [value]
    default: return [value]
    }
  }

  private func resolve(
    _ value: Node, _ match: MatchName, _ field: Field, _ layer: Layer?,
    _ reader: inout PolicyReader
  ) -> Condition? {
    if field.valueType == .blob { return path(value, match, field, &reader) }
    func single(_ make: (UInt128) -> Condition.Match) -> Condition? {
      number(value, field, layer, &reader).map { Condition(field, make($0)) }
    }
    func ordered(_ make: (UInt128) -> Condition.Match) -> Condition? {
      guard field.valueType != .flags else {
        reader.problems.report(value, isNot: "another match: flags have no order")
        return nil
      }
      return single(make)
    }
    switch match {
    case .equal: return single { .equal($0) }
    case .notEqual:
      guard field.valueType == .flags || isSingle(value, &reader) else { return nil }
      return single { .notEqual($0) }
    case .greater: return ordered { .greater($0) }
    case .less: return ordered { .less($0) }
    case .greaterOrEqual: return ordered { .greaterOrEqual($0) }
    case .lessOrEqual: return ordered { .lessOrEqual($0) }
    case .range: return range(value, field, layer, &reader)
    case .prefix: return prefix(value, field, layer, &reader)
    case .notPrefix: return notPrefix(value, field, layer, &reader)
    case .masked: return masked(value, field, layer, &reader)
    case .flagsAllSet: return bits(value, field, &reader).map { Condition(field, .flagsAllSet($0)) }
    case .flagsAnySet: return bits(value, field, &reader).map { Condition(field, .flagsAnySet($0)) }
    case .flagsNoneSet:
      return bits(value, field, &reader).map { Condition(field, .flagsNoneSet($0)) }
    }
  }

  /// Whether a match that negates has one value.
  func isSingle(_ value: Node, _ reader: inout PolicyReader) -> Bool {
    guard case .sequence = value else { return true }
    reader.problems.report(
      "found a list, expected one value: conditions on one field are or-ed, and every value "
        + "is unlike one of two; give the ranges between them", at: value.position)
    return false
  }
}

extension SchemaValue where Value == MatchName {
  /// A match's name.
  static var matchName: SchemaValue { .choice(MatchName.allCases.map { ($0.rawValue, $0) }) }
}
