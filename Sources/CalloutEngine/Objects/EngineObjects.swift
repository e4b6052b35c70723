// SPDX-License-Identifier: Apache-2.0

/// The objects that sessions have added, beside those of the bridge's own policy.
///
/// A value: a transaction changes a copy, which takes its place as a whole.
public struct EngineObjects: Sendable {
  /// Whom the objects belong to.
  public private(set) var providers = ObjectTable<Provider>()
  /// The bands of filters.
  public private(set) var sublayers = ObjectTable<Sublayer>()
  /// The callouts that were added, whether they are registered or not.
  public private(set) var callouts = ObjectTable<AddedCallout>()
  /// Settings for callouts.
  public private(set) var providerContexts = ObjectTable<ProviderContext>()
  /// The filters.
  public private(set) var filters = ObjectTable<Filter>()

  /// No objects.
  package init() {}

  /// The names of what is there without sessions, which lives as long as the bridge.
  package struct Surroundings: Sendable {
    var providers: Set<String>
    var sublayers: Set<String>
    var callouts: Set<String>
    var providerContexts: Set<String>
    /// Callouts that were registered apart from the policy, so they are not there after a restart.
    var registrations: Set<String>
    /// Whether persistent objects are kept.
    var keepsObjects: Bool

    /// What a policy has, and what was registered beside it.
    package init(
      _ policy: FilterPolicy, registrations: [CalloutRegistration] = [], keepsObjects: Bool = false
    ) {
      self.registrations = Set(registrations.map(\.name))
      self.keepsObjects = keepsObjects
      providers = Set(policy.providers.map(\.name))
      sublayers = Set(policy.sublayers.map(\.name) + ["default"])
      callouts = Set(policy.callouts.map(\.name) + policy.addedCallouts.map(\.name))
      providerContexts = Set(policy.providerContexts.map(\.name))
    }
  }

  /// The policy with these objects behind its own.
  package func joined(to policy: FilterPolicy) -> FilterPolicy {
    var policy = policy
    policy.providers += providers.all
    policy.sublayers += sublayers.all
    policy.addedCallouts += callouts.all
    policy.providerContexts += providerContexts.all
    policy.filters += filters.all
    return policy
  }

  package mutating func add(
    _ provider: Provider, session: UInt64?, _ others: Surroundings
  ) throws(EngineError) -> ObjectKey {
    try checkLifetime(of: provider, session, others)
    guard !others.providers.contains(provider.name) else {
      throw .alreadyExists(.provider, provider.name)
    }
    return try providers.add(provider, session: session)
  }

  package mutating func add(
    _ sublayer: Sublayer, session: UInt64?, _ others: Surroundings
  ) throws(EngineError) -> ObjectKey {
    try checkLifetime(of: sublayer, session, others)
    guard !others.sublayers.contains(sublayer.name) else {
      throw .alreadyExists(.sublayer, sublayer.name)
    }
    try requireProvider(of: sublayer, session, others)
    return try sublayers.add(sublayer, session: session)
  }

  /// Adds a callout; that it is registered already is no obstacle.
  package mutating func add(
    _ callout: AddedCallout, session: UInt64?, _ others: Surroundings
  ) throws(EngineError) -> ObjectKey {
    try checkLifetime(of: callout, session, others)
    try requireProvider(of: callout, session, others)
    return try callouts.add(callout, session: session)
  }

  package mutating func add(
    _ context: ProviderContext, session: UInt64?, _ others: Surroundings
  ) throws(EngineError) -> ObjectKey {
    try checkLifetime(of: context, session, others)
    guard !others.providerContexts.contains(context.name) else {
      throw .alreadyExists(.providerContext, context.name)
    }
    try requireProvider(of: context, session, others)
    return try providerContexts.add(context, session: session)
  }

  /// Adds a filter; what it names must be there.
  package mutating func add(
    _ filter: Filter, session: UInt64?, _ others: Surroundings
  ) throws(EngineError) -> ObjectKey {
    try checkLifetime(of: filter, session, others)
    try requireProvider(of: filter, session, others)
    try require(filter.sublayer, sublayers, others.sublayers, filter, session)
    if let callout = filter.action.callout {
      if others.registrations.contains(callout), !others.callouts.contains(callout) {
        try requireRegistered(callout, filter)
      } else {
        try require(callout, callouts, others.callouts, filter, session)
      }
    }
    if case .provider(let context) = filter.context {
      try require(context, providerContexts, others.providerContexts, filter, session)
    }
    return try filters.add(filter, session: session)
  }

  private func requireProvider(
    of object: some EngineObject, _ session: UInt64?, _ others: Surroundings
  ) throws(EngineError) {
    guard let provider = object.provider else { return }
    try require(provider, providers, others.providers, object, session)
  }

  /// Refuses what cannot live as long as it is to.
  private func checkLifetime(
    of object: some EngineObject, _ session: UInt64?, _ others: Surroundings
  ) throws(EngineError) {
    guard object.isPersistent else { return }
    guard session == nil else { throw .dynamicSession(type(of: object).kind, object.name) }
    guard others.keepsObjects else { throw .notKept(type(of: object).kind, object.name) }
  }

  /// A callout that has only code is there as long as that, which a persistent filter outlives.
  private func requireRegistered(_ callout: String, _ filter: Filter) throws(EngineError) {
    guard filter.isPersistent else { return }
    guard let entry = callouts.entry(named: callout), entry.object.isPersistent else {
      throw .lifetimeMismatch(.filter, filter.name, names: "callout \"\(callout)\"")
    }
  }

  /// Refuses to name what is not there, or what goes before the one that names it.
  private func require<Target: EngineObject, Object: EngineObject>(
    _ name: String, _ table: ObjectTable<Target>, _ others: Set<String>, _ object: Object,
    _ session: UInt64?
  ) throws(EngineError) {
    if others.contains(name) { return }
    guard let entry = table.entry(named: name) else { throw .notFound(Target.kind, name) }
    let isShared = entry.session == nil || entry.session == session
    guard isShared || session == nil else { throw .wrongSession(Target.kind, name) }
    guard isShared, entry.object.isPersistent || !object.isPersistent else {
      throw .lifetimeMismatch(
        Object.kind, object.name, names: "\(Target.kind.rawValue) \"\(name)\"")
    }
  }
}

extension EngineObjects {
  /// Deletes a filter.
  package mutating func deleteFilter(_ key: ObjectKey, session: UInt64?) throws(EngineError) {
    try check(key, filters, session)
    filters.remove(key)
  }

  /// Deletes a callout that no filter names; its registration, if it has one, stays.
  package mutating func deleteCallout(_ key: ObjectKey, session: UInt64?) throws(EngineError) {
    let name = try check(key, callouts, session)
    try refuse(.callout, name, filters) { $0.action.callout == name }
    callouts.remove(key)
  }

  /// Deletes a sublayer that no filter names.
  package mutating func deleteSublayer(_ key: ObjectKey, session: UInt64?) throws(EngineError) {
    let name = try check(key, sublayers, session)
    try refuse(.sublayer, name, filters) { $0.sublayer == name }
    sublayers.remove(key)
  }

  /// Deletes a provider context that no filter names.
  package mutating func deleteProviderContext(
    _ key: ObjectKey, session: UInt64?
  ) throws(EngineError) {
    let name = try check(key, providerContexts, session)
    try refuse(.providerContext, name, filters) { $0.context == .provider(name) }
    providerContexts.remove(key)
  }

  /// Deletes a provider that no object belongs to.
  package mutating func deleteProvider(_ key: ObjectKey, session: UInt64?) throws(EngineError) {
    let name = try check(key, providers, session)
    try refuse(.provider, name, filters) { $0.provider == name }
    try refuse(.provider, name, sublayers) { $0.provider == name }
    try refuse(.provider, name, callouts) { $0.provider == name }
    try refuse(.provider, name, providerContexts) { $0.provider == name }
    providers.remove(key)
  }

  /// Deletes all that goes with a dynamic session.
  ///
  /// No object of another session names any of it.
  package mutating func deleteAll(ofSession session: UInt64) {
    for key in filters.keys(ofSession: session) { filters.remove(key) }
    for key in providerContexts.keys(ofSession: session) { providerContexts.remove(key) }
    for key in callouts.keys(ofSession: session) { callouts.remove(key) }
    for key in sublayers.keys(ofSession: session) { sublayers.remove(key) }
    for key in providers.keys(ofSession: session) { providers.remove(key) }
  }

  /// The name of an object that this session may delete.
  @discardableResult
  private func check<Object>(
    _ key: ObjectKey, _ table: ObjectTable<Object>, _ session: UInt64?
  ) throws(EngineError) -> String {
    guard let entry = table.entry(key) else { throw .notFound(Object.kind, "\(key)") }
    let name = entry.object.name
    guard entry.session == nil || entry.session == session else {
      throw .wrongSession(Object.kind, name)
    }
    return name
  }

  private func refuse<User>(
    _ kind: ObjectKind, _ name: String, _ users: ObjectTable<User>,
    where names: (User) -> Bool
  ) throws(EngineError) {
    guard users.contains(where: names) else { return }
    throw .inUse(kind, name, by: "\(User.kind.rawValue)s")
  }
}
