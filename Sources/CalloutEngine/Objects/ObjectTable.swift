// SPDX-License-Identifier: Apache-2.0

/// An object that sessions add under a key.
public protocol EngineObject: Sendable {
  /// What kind it is of.
  static var kind: ObjectKind { get }
  /// Whether other objects name it, so that no two may have the same name.
  static var isNamed: Bool { get }
  /// Its name.
  var name: String { get }
  /// What it is known by; nil: chosen when it is added.
  var key: ObjectKey? { get set }
  /// The provider that it belongs to, nil for none.
  var provider: String? { get }
  /// Whether it outlives the process.
  var isPersistent: Bool { get }
}

extension EngineObject {
  /// The provider that it belongs to, nil for none.
  public var provider: String? { nil }
  /// Whether other objects name it.
  public static var isNamed: Bool { true }
}

extension Provider: EngineObject {
  /// What kind it is of.
  public static var kind: ObjectKind { .provider }
}
extension Sublayer: EngineObject {
  /// What kind it is of.
  public static var kind: ObjectKind { .sublayer }
}
extension AddedCallout: EngineObject {
  /// What kind it is of.
  public static var kind: ObjectKind { .callout }
}
extension ProviderContext: EngineObject {
  /// What kind it is of.
  public static var kind: ObjectKind { .providerContext }
}
extension Filter: EngineObject {
  /// What kind it is of.
  public static var kind: ObjectKind { .filter }
  /// Filters' names are for people.
  public static var isNamed: Bool { false }
  /// Whether it outlives the process if a session adds it: its flag says so.
  public var isPersistent: Bool { flags.contains(.persistent) }
}

/// The objects of one kind that sessions have added.
public struct ObjectTable<Object: EngineObject>: Sendable {
  struct Entry: Sendable {
    var object: Object
    /// The dynamic session that it goes with, nil for none.
    var session: UInt64?
    /// Objects stand in the order in which they were added.
    var number: UInt64
  }

  private var entries: [ObjectKey: Entry] = [:]
  private var keys: [String: ObjectKey] = [:]
  private var lastNumber: UInt64 = 0

  /// How many there are.
  public var count: Int { entries.count }
  /// The object of that key, nil if there is none.
  public subscript(key: ObjectKey) -> Object? { entries[key]?.object }
  /// All of them, in the order in which they were added.
  public var all: [Object] {
    entries.values.sorted { $0.number < $1.number }.map(\.object)
  }

  /// Those that outlive the process, in the order in which they were added.
  var persistent: [Object] {
    entries.values.filter(\.object.isPersistent).sorted { $0.number < $1.number }.map(\.object)
  }

  /// An empty table.
  init() {}

  func entry(_ key: ObjectKey) -> Entry? { entries[key] }

  func entry(named name: String) -> Entry? { keys[name].flatMap { entries[$0] } }

  func contains(where condition: (Object) -> Bool) -> Bool {
    entries.values.contains { condition($0.object) }
  }

  /// The keys of a dynamic session's objects.
  func keys(ofSession session: UInt64) -> [ObjectKey] {
    entries.filter { $0.value.session == session }.map(\.key)
  }

  mutating func add(_ object: Object, session: UInt64?) throws(EngineError) -> ObjectKey {
    var object = object
    let key = object.key ?? .random()
    object.key = key
    guard entries[key] == nil else { throw .alreadyExists(Object.kind, "\(key)") }
    if Object.isNamed {
      guard keys[object.name] == nil else { throw .alreadyExists(Object.kind, object.name) }
      keys[object.name] = key
    }
    lastNumber &+= 1
    entries[key] = Entry(object: object, session: session, number: lastNumber)
    return key
  }

  mutating func remove(_ key: ObjectKey) {
    guard let entry = entries.removeValue(forKey: key) else { return }
    if Object.isNamed { keys[entry.object.name] = nil }
  }
}
