// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketTagging
internal import PacketViews

/// Why a record is none of an object's.
struct RecordError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Persistent objects as the store has them: by names and keys, never by numbers of one run.
///
/// Numbers above 32 bits are text, since not everybody who writes JSON keeps them.
struct ObjectRecords: Codable {
  struct Provider: Codable {
    var name: String
    var key: String
    var purpose: String
  }

  struct Sublayer: Codable {
    var name: String
    var key: String
    var provider: String?
    var weight: UInt16
  }

  struct Callout: Codable {
    var name: String
    var key: String
    var provider: String?
  }

  struct ProviderContext: Codable {
    var name: String
    var key: String
    var provider: String?
    var data: String
  }

  var format: String
  var version: Int
  var providers: [Provider]
  var sublayers: [Sublayer]
  var callouts: [Callout]
  var providerContexts: [ProviderContext]
  var filters: [FilterRecord]

  init(_ kept: PersistentObjects, format: String, version: Int) {
    self.format = format
    self.version = version
    providers = kept.providers.map {
      Provider(name: $0.name, key: $0.key.text, purpose: $0.purpose)
    }
    sublayers = kept.sublayers.map {
      Sublayer(name: $0.name, key: $0.key.text, provider: $0.provider, weight: $0.weight)
    }
    callouts = kept.callouts.map {
      Callout(name: $0.name, key: $0.key.text, provider: $0.provider)
    }
    providerContexts = kept.providerContexts.map {
      ProviderContext(
        name: $0.name, key: $0.key.text, provider: $0.provider, data: hexadecimal($0.data))
    }
    filters = kept.filters.map { FilterRecord($0) }
  }

  /// The objects.
  var objects: PersistentObjects {
    get throws(RecordError) {
      var kept = PersistentObjects()
      for record in providers {
        kept.providers.append(
          CalloutEngine.Provider(
            name: record.name, key: try key(record.key), purpose: record.purpose,
            isPersistent: true))
      }
      for record in sublayers {
        kept.sublayers.append(
          CalloutEngine.Sublayer(
            name: record.name, key: try key(record.key), weight: record.weight,
            provider: record.provider, isPersistent: true))
      }
      for record in callouts {
        kept.callouts.append(
          AddedCallout(
            name: record.name, key: try key(record.key), provider: record.provider,
            isPersistent: true))
      }
      for record in providerContexts {
        guard let data = bytes(ofHexadecimal: record.data) else {
          throw RecordError("\"\(record.data)\" is no data in hexadecimal digits")
        }
        kept.providerContexts.append(
          CalloutEngine.ProviderContext(
            name: record.name, key: try key(record.key), provider: record.provider, data: data,
            isPersistent: true))
      }
      for record in filters { kept.filters.append(try record.filter) }
      return kept
    }
  }
}

/// A filter as the store has it.
struct FilterRecord: Codable {
  struct Condition: Codable {
    var field: String
    var match: String
    var values: [String]
  }

  var name: String
  var key: String
  var layer: String
  var sublayer: String
  var provider: String?
  /// How the weight is given: explicit, automatic or range.
  var weighing: String
  var weight: String?
  var conditions: [Condition]
  var action: String
  var callout: String?
  var flags: [String]
  var number: String?
  var providerContext: String?

  init(_ filter: Filter) {
    name = filter.name
    key = filter.key.text
    layer = filter.layer.name
    sublayer = filter.sublayer
    provider = filter.provider
    switch filter.weight {
    case .explicit(let number): (weighing, weight) = ("explicit", "\(number)")
    case .automatic: (weighing, weight) = ("automatic", nil)
    case .range(let band): (weighing, weight) = ("range", "\(band)")
    }
    conditions = filter.conditions.map { condition in
      let (match, values) = condition.match.texts
      return Condition(field: condition.field.name, match: match, values: values)
    }
    callout = filter.action.callout
    action = filter.action.name
    flags = filter.flags.setNames
    switch filter.context {
    case .none: break
    case .raw(let number): self.number = "\(number)"
    case .provider(let name): providerContext = name
    }
  }

  /// The filter.
  var filter: Filter {
    get throws(RecordError) {
      guard let place = Layer(name: layer) else {
        throw RecordError("there is no layer \"\(layer)\"")
      }
      var filter = Filter(
        name: name, key: try CalloutBridge.key(key), layer: place, sublayer: sublayer,
        action: try filterAction, provider: provider)
      filter.weight = try filterWeight
      for condition in conditions { filter.conditions.append(try condition.condition) }
      for name in flags {
        guard let flag = FilterFlags.names.first(where: { $0.name == name })?.flag else {
          throw RecordError("there is no flag \"\(name)\"")
        }
        filter.flags.insert(flag)
      }
      guard filter.isPersistent else { throw RecordError("filter \"\(name)\" is not persistent") }
      if let number { filter.context = .raw(try CalloutBridge.number(number)) }
      if let providerContext { filter.context = .provider(providerContext) }
      return filter
    }
  }

  private var filterWeight: FilterWeight {
    get throws(RecordError) {
      switch (weighing, weight) {
      case ("explicit", let text?): return .explicit(try CalloutBridge.number(text))
      case ("range", let text?): return .range(try CalloutBridge.number(text))
      case ("automatic", nil): return .automatic
      default: throw RecordError("filter \"\(name)\" has no weight \"\(weighing)\"")
      }
    }
  }

  private var filterAction: FilterAction {
    get throws(RecordError) {
      switch (action, callout) {
      case ("permit", nil): return .permit
      case ("block", nil): return .block
      case ("callout-terminating", let name?): return .calloutTerminating(name)
      case ("callout-inspection", let name?): return .calloutInspection(name)
      case ("callout-unknown", let name?): return .calloutUnknown(name)
      default: throw RecordError("filter \"\(name)\" has no action \"\(action)\"")
      }
    }
  }
}

extension FilterRecord.Condition {
  fileprivate var condition: Condition {
    get throws(RecordError) {
      guard let field = Field(name: field) else {
        throw RecordError("there is no field \"\(self.field)\"")
      }
      return Condition(field, try Condition.Match(match, values))
    }
  }
}

extension Condition.Match {
  /// The match' name and its values.
  fileprivate var texts: (String, [String]) {
    switch self {
    case .equal(let value): ("equal", ["\(value)"])
    case .notEqual(let value): ("not-equal", ["\(value)"])
    case .greater(let value): ("greater", ["\(value)"])
    case .less(let value): ("less", ["\(value)"])
    case .greaterOrEqual(let value): ("greater-or-equal", ["\(value)"])
    case .lessOrEqual(let value): ("less-or-equal", ["\(value)"])
    case .range(let low, let high): ("range", ["\(low)", "\(high)"])
    case .prefix(let prefix): ("prefix", ["\(prefix)"])
    case .notPrefix(let prefix): ("not-prefix", ["\(prefix)"])
    case .masked(let value, let mask): ("masked", ["\(value)", "\(mask)"])
    case .flagsAllSet(let bits): ("flags-all-set", ["\(bits)"])
    case .flagsAnySet(let bits): ("flags-any-set", ["\(bits)"])
    case .flagsNoneSet(let bits): ("flags-none-set", ["\(bits)"])
    case .blob(let match): match.texts
    }
  }

  fileprivate init(_ name: String, _ values: [String]) throws(RecordError) {
    guard let first = values.first,
      values.count == (["range", "masked", "bytes-range"].contains(name) ? 2 : 1),
      let last = values.last
    else { throw RecordError("a match \"\(name)\" with \(values.count) values") }
    if let match = try BlobMatch(name, first, last) {
      self = .blob(match)
      return
    }
    func prefix() throws(RecordError) -> IPPrefix {
      guard let prefix = IPPrefix(first) else { throw RecordError("\"\(first)\" is no prefix") }
      return prefix
    }
    switch name {
    case "equal": self = .equal(try number(first))
    case "not-equal": self = .notEqual(try number(first))
    case "greater": self = .greater(try number(first))
    case "less": self = .less(try number(first))
    case "greater-or-equal": self = .greaterOrEqual(try number(first))
    case "less-or-equal": self = .lessOrEqual(try number(first))
    case "range": self = .range(try number(first), try number(last))
    case "prefix": self = .prefix(try prefix())
    case "not-prefix": self = .notPrefix(try prefix())
    case "masked": self = .masked(try number(first), mask: try number(last))
    case "flags-all-set": self = .flagsAllSet(try number(first))
    case "flags-any-set": self = .flagsAnySet(try number(first))
    case "flags-none-set": self = .flagsNoneSet(try number(first))
    default: throw RecordError("there is no match \"\(name)\"")
    }
  }
}

extension BlobMatch {
  /// The match' name and its values in hexadecimal digits.
  fileprivate var texts: (String, [String]) {
    let name =
      switch self {
      case .equal: "bytes-equal"
      case .notEqual: "bytes-not-equal"
      case .prefix: "bytes-prefix"
      case .notPrefix: "bytes-not-prefix"
      case .greater: "bytes-greater"
      case .less: "bytes-less"
      case .greaterOrEqual: "bytes-greater-or-equal"
      case .lessOrEqual: "bytes-less-or-equal"
      case .range: "bytes-range"
      }
    return (name, operands.map(hexadecimal))
  }

  /// Nil if the name is not of a match of bytes.
  fileprivate init?(_ name: String, _ first: String, _ last: String) throws(RecordError) {
    guard name.hasPrefix("bytes-") else { return nil }
    guard let low = bytes(ofHexadecimal: first), let high = bytes(ofHexadecimal: last) else {
      throw RecordError("\"\(first)\" or \"\(last)\" is not in hexadecimal digits")
    }
    switch name {
    case "bytes-equal": self = .equal(low)
    case "bytes-not-equal": self = .notEqual(low)
    case "bytes-prefix": self = .prefix(low)
    case "bytes-not-prefix": self = .notPrefix(low)
    case "bytes-greater": self = .greater(low)
    case "bytes-less": self = .less(low)
    case "bytes-greater-or-equal": self = .greaterOrEqual(low)
    case "bytes-less-or-equal": self = .lessOrEqual(low)
    case "bytes-range": self = .range(low, high)
    default: throw RecordError("there is no match \"\(name)\"")
    }
  }
}

extension ObjectKey? {
  /// The key as text; every object that was added has one.
  fileprivate var text: String { map { "\($0)" } ?? "" }
}

private func key(_ text: String) throws(RecordError) -> ObjectKey {
  guard let key = ObjectKey(text) else { throw RecordError("\"\(text)\" is no key") }
  return key
}

private func number<Number: FixedWidthInteger>(_ text: String) throws(RecordError) -> Number {
  guard let number = Number(text) else { throw RecordError("\"\(text)\" is no such number") }
  return number
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

private func bytes(ofHexadecimal text: String) -> [UInt8]? {
  let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
  guard digits.count == text.utf8.count, digits.count.isMultiple(of: 2) else { return nil }
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}
