// SPDX-License-Identifier: Apache-2.0

internal import Yams

/// One key of a mapping: everything the parser, its messages and the printed schema need of it.
struct SchemaKey<Target> {
  /// The key.
  let name: String
  /// What it is for, one line.
  let purpose: String
  /// What it takes.
  let type: String
  /// Its default, nil if it must be given; "" if leaving it out means something of its own.
  let fallback: String?
  /// A value for the printed schema.
  let example: String
  /// The printed schema of what is below it.
  let nested: [String]
  /// Reads the value into the target.
  let assign: (Node, inout Target, inout PolicyReader) -> Void

  /// A key with one value.
  init<Value>(
    _ name: String, _ type: SchemaValue<Value>, into path: WritableKeyPath<Target, Value>,
    default fallback: String?, example: String? = nil, _ purpose: String
  ) {
    self.name = name
    self.purpose = purpose
    self.type = type.name
    self.fallback = fallback
    self.example = example ?? fallback ?? ""
    nested = []
    assign = { node, target, reader in
      if let value = type.read(node, &reader) { target[keyPath: path] = value }
    }
  }

  /// A key whose value is a mapping.
  init<Child>(
    _ name: String, _ schema: PolicySchema<Child>, into path: WritableKeyPath<Target, Child>,
    default fallback: String? = "", _ purpose: String
  ) {
    self.name = name
    self.purpose = purpose
    self.fallback = fallback
    type = "a mapping"
    example = ""
    nested = schema.lines
    assign = { node, target, reader in reader.read(node, by: schema, into: &target[keyPath: path]) }
  }

  /// A key whose value is a list of things that `element` reads, each with another `identity`.
  init<Child>(
    _ name: String, listOf element: @escaping (Node, inout PolicyReader) -> Child?,
    schema: [[String]], into path: WritableKeyPath<Target, [Child]>,
    identity: @escaping (Child) -> String? = { _ in nil },
    default fallback: String? = "[]", _ purpose: String
  ) {
    self.name = name
    self.purpose = purpose
    self.fallback = fallback
    type = "a list"
    example = ""
    nested = schema.flatMap { lines in
      lines.enumerated().map { ($0.offset == 0 ? "- " : "  ") + $0.element }
    }
    assign = { node, target, reader in
      guard case .sequence(let sequence) = node else {
        return reader.problems.report(node, isNot: "a list")
      }
      var lines: [String: Int] = [:]
      for node in sequence {
        guard let child = element(node, &reader) else { continue }
        target[keyPath: path].append(child)
        guard let identity = identity(child) else { continue }
        guard let line = lines[identity] else {
          lines[identity] = node.position.line
          continue
        }
        reader.problems.report(
          "found \(identity) again, expected it once in \(name); it is first given in line \(line)",
          at: node.position)
      }
    }
  }
}

/// The keys of one mapping: the one table by which it is parsed, explained and printed.
struct PolicySchema<Target> {
  let keys: [SchemaKey<Target>]

  init(_ keys: [SchemaKey<Target>]) { self.keys = keys }

  /// The mapping as commented YAML.
  var lines: [String] {
    keys.flatMap { key -> [String] in
      let head = key.example.isEmpty ? "\(key.name):" : "\(key.name): \(key.example)"
      let need =
        switch key.fallback {
        case nil: "required"
        case "": "optional"
        case let fallback?: "default \(fallback)"
        }
      let gap = String(repeating: " ", count: max(1, 38 - head.count))
      // Long lists of names stand at the head of the schema.
      let type = key.type.count > 110 ? String(key.type.prefix { $0 != ":" }) : key.type
      let comment = "# \(key.purpose); \(type), \(need)"
      return ["\(head)\(gap)\(comment)"] + key.nested.map { "  \($0)" }
    }
  }
}

/// Reads nodes by schemas and collects what is wrong.
struct PolicyReader {
  let document: PolicyDocument
  var problems = ProblemCollector()
  /// Made once: a file can have very many filters.
  let filterSchema = FilterDraft.schema
  let conditionSchema = ConditionDraft.schema

  init(_ document: PolicyDocument) { self.document = document }

  /// Reads a mapping: unknown and duplicate keys, missing ones and wrong values are problems.
  mutating func read<Target>(
    _ node: Node, by schema: PolicySchema<Target>, into target: inout Target,
    ignoring ignored: Set<String> = []
  ) {
    guard case .mapping(let mapping) = node else {
      return problems.report(node, isNot: "a mapping with the keys \(Self.list(schema))")
    }
    var given: Set<String> = []
    for (keyNode, value) in mapping {
      guard let name = keyNode.scalar?.string else {
        problems.report(keyNode, isNot: "one of the keys \(Self.list(schema))")
        continue
      }
      if let original = document.duplicate(name) {
        report(duplicate: original, in: mapping)
        given.insert(original)
        continue
      }
      given.insert(name)
      guard let key = schema.keys.first(where: { $0.name == name }) else {
        if !ignored.contains(name) {
          problems.report(
            "unknown key \"\(name)\", expected one of \(Self.list(schema))", at: keyNode.position)
        }
        continue
      }
      key.assign(value, &target, &self)
    }
    for key in schema.keys where key.fallback == nil && !given.contains(key.name) {
      problems.report("the key \"\(key.name)\" is missing, expected \(key.type)", at: node.position)
    }
  }

  /// The value of one key, without reading the others.
  func value(of key: String, in node: Node) -> Node? {
    guard case .mapping(let mapping) = node else { return nil }
    return mapping.first { $0.key.scalar?.string == key }?.value
  }

  private mutating func report(duplicate name: String, in mapping: Node.Mapping) {
    let uses = mapping.filter { key, _ in
      let text = key.scalar?.string ?? ""
      return text == name || document.duplicate(text) == name
    }
    guard let first = uses.first?.key.position else { return }
    for use in uses.dropFirst() {
      problems.report(
        "duplicate key \"\(name)\", expected it once; it is first given in line \(first.line)",
        at: use.key.position)
    }
  }

  private static func list<Target>(_ schema: PolicySchema<Target>) -> String {
    schema.keys.map(\.name).joined(separator: ", ")
  }
}
