// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketTagging
internal import Yams

/// A filter and where its parts are in the file.
struct FilterSpec: Sendable {
  var filter: Filter
  var positions: Positions
  /// Where each condition's field and value are.
  var conditionPositions: [(field: SourcePosition, value: SourcePosition)]

  /// Where a filter's keys have their values; the filter's own place where they are left out.
  struct Positions: Sendable {
    var filter: SourcePosition
    var layer: SourcePosition
    var sublayer: SourcePosition
    var callout: SourcePosition
    var provider: SourcePosition
    var flags: SourcePosition
    var context: SourcePosition
  }

  /// The key, if it has one, and the filter's place.
  var key: (String, SourcePosition)? { filter.key.map { ("\($0)", positions.filter) } }

  /// Reads one entry of `filters`.
  static func read(_ node: Node, _ reader: inout PolicyReader) -> FilterSpec? {
    var draft = FilterDraft()
    reader.read(node, by: reader.filterSchema, into: &draft)
    guard case .mapping = node else { return nil }
    func position(_ key: String) -> SourcePosition {
      (reader.value(of: key, in: node) ?? node).position
    }
    let action = draft.resolveAction(node, &reader)
    let sets = draft.conditions.compactMap { draft in
      draft.resolve(at: self.layer(of: node, reader), &reader).map { (draft, $0) }
    }
    guard let layer = draft.layer, let action, sets.count == draft.conditions.count,
      !draft.name.isEmpty
    else { return nil }
    let conditions = sets.flatMap { draft, set in set.map { (draft, $0) } }
    return FilterSpec(
      filter: Filter(
        name: draft.name, key: draft.key, layer: layer, sublayer: draft.sublayer,
        weight: draft.weight, conditions: conditions.map(\.1), action: action,
        provider: draft.provider, flags: draft.flags, context: draft.context),
      positions: Positions(
        filter: node.position, layer: position("layer"), sublayer: position("sublayer"),
        callout: position("callout"), provider: position("provider"), flags: position("flags"),
        context: position("context")),
      conditionPositions: conditions.map { ($0.0.fieldPosition, $0.0.valuePosition) })
  }

  private static func layer(of node: Node, _ reader: PolicyReader) -> Layer? {
    reader.value(of: "layer", in: node)?.scalar.flatMap { Layer(name: $0.string) }
  }
}

/// The names of actions.
enum ActionName: String, CaseIterable {
  case permit, block
  case calloutTerminating = "callout-terminating"
  case calloutInspection = "callout-inspection"
  case calloutUnknown = "callout-unknown"

  var asksCallout: Bool { self != .permit && self != .block }

  /// The action with the callout it asks.
  func action(callout: String) -> FilterAction {
    switch self {
    case .permit: .permit
    case .block: .block
    case .calloutTerminating: .calloutTerminating(callout)
    case .calloutInspection: .calloutInspection(callout)
    case .calloutUnknown: .calloutUnknown(callout)
    }
  }
}

/// A filter while it is read.
struct FilterDraft {
  var name = ""
  var layer: Layer?
  var sublayer = "default"
  var weight = FilterWeight.automatic
  var conditions: [ConditionDraft] = []
  var action: ActionName?
  var callout: String?
  var key: ObjectKey?
  var provider: String?
  var flags: FilterFlags = []
  var context = FilterContext.none

  static var schema: PolicySchema<FilterDraft> {
    PolicySchema([
      SchemaKey(
        "name", .text("the filter's name"), into: \.name, default: nil,
        example: "outbound DNS", "for people"),
      SchemaKey(
        "layer", SchemaValue<Layer>.layer.optional, into: \.layer, default: nil,
        example: "outbound-transport-v4", "where it works"),
      SchemaKey(
        "sublayer", .text("a sublayer's name"), into: \.sublayer, default: "default",
        "its band"),
      SchemaKey(
        "weight", filterWeight, into: \.weight, default: "auto",
        "its place in the sublayer, higher first"),
      SchemaKey(
        "conditions", listOf: ConditionDraft.read, schema: [ConditionDraft.schema.lines],
        into: \.conditions, "same field = or, different fields = and; none: every packet"),
      SchemaKey(
        "action", SchemaValue<ActionName>.actionName.optional, into: \.action, default: nil,
        example: "callout-unknown", "what happens to matching packets"),
      SchemaKey(
        "callout", SchemaValue<String>.text("a callout's name").optional, into: \.callout,
        default: "", example: "tag-example", "whom to ask; with callout actions only"),
      SchemaKey(
        "key", SchemaValue<ObjectKey>.objectKey.optional, into: \.key, default: "",
        example: "5d5c4b5e-0f0a-4f3e-9a51-000000000004", "what it is known by for good"),
      SchemaKey(
        "provider", SchemaValue<String>.text("a provider's name").optional, into: \.provider,
        default: "", example: "example", "whom it belongs to"),
      SchemaKey(
        "flags", .filterFlags, into: \.flags, default: "[]",
        "how it differs from others; boot-time ones act only until calloutd's rules stand"),
      SchemaKey(
        "context", .filterContext, into: \.context, default: "", example: "settings",
        "what its callout gets with it"),
    ])
  }

  private static var filterWeight: SchemaValue<FilterWeight> {
    let name = "a number up to 2^64 - 1, auto, or { range: 3 } with 0 to 15"
    return SchemaValue(name) { node, reader in
      if node.plainText == "auto" { return .automatic }
      if let text = node.plainText, let number = UInt128(policyNumber: text),
        let weight = UInt64(exactly: number)
      {
        return .explicit(weight)
      }
      if case .mapping(let mapping) = node, mapping.count == 1, let pair = mapping.first,
        pair.key.scalar?.string == "range"
      {
        return SchemaValue<UInt8>.number(0...15).read(pair.value, &reader).map { .range($0) }
      }
      reader.problems.report(node, isNot: name)
      return nil
    }
  }

  /// The action together with its callout, which it must have or must not have.
  func resolveAction(_ node: Node, _ reader: inout PolicyReader) -> FilterAction? {
    guard let action else { return nil }
    let calloutNode = reader.value(of: "callout", in: node)
    switch (action.asksCallout, callout) {
    case (true, let callout?): return action.action(callout: callout)
    case (true, nil):
      if calloutNode == nil {
        reader.problems.report(
          "the key \"callout\" is missing, expected the name of the callout that "
            + "\(action.rawValue) asks",
          at: (reader.value(of: "action", in: node) ?? node).position)
      }
      return nil
    case (false, let callout?):
      reader.problems.report(
        "found callout \"\(callout)\", expected none: the action \(action.rawValue) asks nobody",
        at: (calloutNode ?? node).position)
      return nil
    case (false, nil): return action.action(callout: "")
    }
  }
}

extension SchemaValue where Value == FilterFlags {
  /// A list of flags.
  static var filterFlags: SchemaValue {
    let names = FilterFlags.names.map(\.name).joined(separator: ", ")
    let name = "a list of flags: \(names)"
    return SchemaValue(name) { node, reader in
      guard case .sequence(let list) = node else {
        reader.problems.report(node, isNot: name)
        return nil
      }
      var flags: FilterFlags = []
      for entry in list {
        guard let flag = FilterFlags.names.first(where: { $0.name == entry.plainText })?.flag else {
          reader.problems.report(entry, isNot: "a flag: \(names)")
          continue
        }
        flags.insert(flag)
      }
      return flags
    }
  }
}

extension SchemaValue where Value == FilterContext {
  /// A number, or a name.
  static var filterContext: SchemaValue {
    let name = "a number up to 2^64 - 1 or a provider context's name"
    return SchemaValue(name) { node, reader in
      if let text = node.plainText, let number = UInt128(policyNumber: text) {
        if let exact = UInt64(exactly: number) { return .raw(exact) }
      } else if let text = node.scalar?.string, !text.isEmpty {
        return .provider(text)
      }
      reader.problems.report(node, isNot: name)
      return nil
    }
  }
}

extension SchemaValue where Value == ActionName {
  /// An action's name.
  static var actionName: SchemaValue { .choice(ActionName.allCases.map { ($0.rawValue, $0) }) }
}
