// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Yams

/// A sublayer and where it is in the file.
struct SublayerSpec: Sendable {
  var position = SourcePosition.start
  var providerPosition = SourcePosition.start
  var sublayer = Sublayer(name: "", weight: 0x8000)

  /// The key, if it has one, and the sublayer's place.
  var key: (String, SourcePosition)? { sublayer.key.map { ("\($0)", position) } }

  static var schema: PolicySchema<SublayerSpec> {
    PolicySchema([
      SchemaKey(
        "name", .text("the sublayer's name"), into: \.sublayer.name, default: nil,
        example: "default", "unique among sublayers"),
      SchemaKey(
        "key", SchemaValue<ObjectKey>.objectKey.optional, into: \.sublayer.key, default: "",
        example: "5d5c4b5e-0f0a-4f3e-9a51-000000000001", "what it is known by for good"),
      SchemaKey(
        "weight", .number(0...65535), into: \.sublayer.weight, default: "0x8000",
        "higher is asked first"),
      SchemaKey(
        "provider", SchemaValue<String>.text("a provider's name").optional,
        into: \.sublayer.provider, default: "", example: "example", "whom it belongs to"),
    ])
  }

  /// Reads one entry of `sublayers`.
  static func read(_ node: Node, _ reader: inout PolicyReader) -> SublayerSpec? {
    var spec = SublayerSpec()
    spec.position = reader.value(of: "name", in: node)?.position ?? node.position
    spec.providerPosition = (reader.value(of: "provider", in: node) ?? node).position
    reader.read(node, by: schema, into: &spec)
    return spec.sublayer.name.isEmpty ? nil : spec
  }
}

/// A provider and where it is in the file.
struct ProviderSpec: Sendable {
  var position = SourcePosition.start
  var provider = Provider(name: "")

  /// The key, if it has one, and the provider's place.
  var key: (String, SourcePosition)? { provider.key.map { ("\($0)", position) } }

  static var schema: PolicySchema<ProviderSpec> {
    PolicySchema([
      SchemaKey(
        "name", .text("the provider's name"), into: \.provider.name, default: nil,
        example: "example", "unique among providers"),
      SchemaKey(
        "key", SchemaValue<ObjectKey>.objectKey.optional, into: \.provider.key, default: "",
        example: "5d5c4b5e-0f0a-4f3e-9a51-000000000002", "what it is known by for good"),
      SchemaKey(
        "purpose", .text("a text"), into: \.provider.purpose, default: "", example: "shows how",
        "for people"),
    ])
  }

  /// Reads one entry of `providers`.
  static func read(_ node: Node, _ reader: inout PolicyReader) -> ProviderSpec? {
    var spec = ProviderSpec()
    spec.position = reader.value(of: "name", in: node)?.position ?? node.position
    reader.read(node, by: schema, into: &spec)
    return spec.provider.name.isEmpty ? nil : spec
  }
}

/// A provider context and where it is in the file.
struct ProviderContextSpec: Sendable {
  var position = SourcePosition.start
  var providerPosition = SourcePosition.start
  var context = ProviderContext(name: "", data: [])

  /// The key, if it has one, and the context's place.
  var key: (String, SourcePosition)? { context.key.map { ("\($0)", position) } }

  static var schema: PolicySchema<ProviderContextSpec> {
    PolicySchema([
      SchemaKey(
        "name", .text("the provider context's name"), into: \.context.name, default: nil,
        example: "settings", "unique among provider contexts"),
      SchemaKey(
        "key", SchemaValue<ObjectKey>.objectKey.optional, into: \.context.key, default: "",
        example: "5d5c4b5e-0f0a-4f3e-9a51-000000000003", "what it is known by for good"),
      SchemaKey(
        "provider", SchemaValue<String>.text("a provider's name").optional,
        into: \.context.provider, default: "", example: "example", "whom it belongs to"),
      SchemaKey(
        "data", .hexadecimal, into: \.context.data, default: nil, example: "0x0102ff",
        "what the callout gets with the filters that name it"),
    ])
  }

  /// Reads one entry of `provider-contexts`.
  static func read(_ node: Node, _ reader: inout PolicyReader) -> ProviderContextSpec? {
    var spec = ProviderContextSpec()
    spec.position = reader.value(of: "name", in: node)?.position ?? node.position
    spec.providerPosition = (reader.value(of: "provider", in: node) ?? node).position
    reader.read(node, by: schema, into: &spec)
    return spec.context.name.isEmpty ? nil : spec
  }
}

extension SchemaValue where Value == ObjectKey {
  /// A key of an object.
  static var objectKey: SchemaValue {
    .word("a key such as 01234567-89ab-cdef-0123-456789abcdef", ObjectKey.init)
  }
}

extension SchemaValue where Value == [UInt8] {
  /// Bytes as hexadecimal digits.
  static var hexadecimal: SchemaValue {
    .word("bytes such as 0x0102ff") { text in
      guard text.hasPrefix("0x") else { return nil }
      let digits = Array(text.utf8.dropFirst(2))
      guard digits.count % 2 == 0 else { return nil }
      var bytes: [UInt8] = []
      for place in stride(from: 0, to: digits.count, by: 2) {
        guard let high = nibble(digits[place]), let low = nibble(digits[place + 1]) else {
          return nil
        }
        bytes.append(high << 4 | low)
      }
      return bytes
    }
  }

  private static func nibble(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
