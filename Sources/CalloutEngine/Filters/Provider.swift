// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging

/// Whom objects belong to: a program or a part of one.
///
/// Mirrors `FWPM_PROVIDER0`.
public struct Provider: Sendable, Hashable {
  /// Its name, unique in a policy.
  public var name: String
  /// What it is known by; nil: chosen when it is added.
  public var key: ObjectKey?
  /// What it is, for people.
  public var purpose: String
  /// Whether it outlives the process if a session adds it.
  ///
  /// Mirrors `FWPM_PROVIDER_FLAG_PERSISTENT`.
  public var isPersistent: Bool

  /// A provider.
  public init(
    name: String, key: ObjectKey? = nil, purpose: String = "", isPersistent: Bool = false
  ) {
    self.name = name
    self.key = key
    self.purpose = purpose
    self.isPersistent = isPersistent
  }
}

extension FilterPolicy {
  /// Refuses that `provider` puts this policy in the place of `old` if an object of another provider
  /// were changed or gone.
  ///
  /// What belongs to nobody may be changed by everybody.
  public func checkSuccession(of old: FilterPolicy, by provider: String?) throws(PolicyError) {
    func isForeign(_ owner: String?) -> Bool { owner != nil && owner != provider }
    let filters = Set(filters)
    for filter in old.filters where isForeign(filter.provider) && !filters.contains(filter) {
      throw .foreignObject(kind: "filter", name: filter.name, provider: filter.provider ?? "")
    }
    let sublayers = Set(sublayers)
    for band in old.sublayers where isForeign(band.provider) && !sublayers.contains(band) {
      throw .foreignObject(kind: "sublayer", name: band.name, provider: band.provider ?? "")
    }
    for callout in old.callouts where isForeign(callout.provider) {
      let isKept = callouts.contains {
        $0.name == callout.name && $0.revision == callout.revision
          && $0.provider == callout.provider
      }
      guard !isKept else { continue }
      throw .foreignObject(kind: "callout", name: callout.name, provider: callout.provider ?? "")
    }
  }

  /// The policy without the provider's filters of that name.
  ///
  /// Mirrors `FwpmFilterDeleteByKey0`.
  public func removingFilters(
    named name: String, by provider: String?
  ) throws(PolicyError) -> FilterPolicy {
    var policy = self
    policy.filters.removeAll { $0.name == name }
    try policy.checkSuccession(of: self, by: provider)
    return policy
  }

  /// Refuses names and keys that are given twice, and names of what is not there.
  func checkObjects() throws(PolicyError) {
    try Self.requireUnique(providers, "providers")
    try Self.requireUnique(sublayers, "sublayers")
    try Self.requireUnique(addedCallouts, "callouts")
    try Self.requireUnique(providerContexts, "provider contexts")
    try Self.requireUnique(filters, "filters")
    try checkProviders()
    let contexts = Set(providerContexts.map(\.name))
    for filter in filters {
      try filter.checkFlags()
      guard case .provider(let context) = filter.context, !contexts.contains(context) else {
        continue
      }
      throw .unknownProviderContext(filter: filter.name, context: context)
    }
  }

  private static func requireUnique<Object: EngineObject>(
    _ objects: [Object], _ kind: String
  ) throws(PolicyError) {
    var names: Set<String> = []
    var keys: Set<ObjectKey> = []
    for object in objects {
      if Object.isNamed, !names.insert(object.name).inserted {
        throw .duplicate(kind: kind, name: object.name)
      }
      if let key = object.key, !keys.insert(key).inserted {
        throw .duplicate(kind: kind, name: "\(key)")
      }
    }
  }

  private func checkProviders() throws(PolicyError) {
    let known = Set(providers.map(\.name))
    let owned =
      filters.map { ("filter", $0.name, $0.provider) }
      + sublayers.map { ("sublayer", $0.name, $0.provider) }
      + callouts.map { ("callout", $0.name, $0.provider) }
      + addedCallouts.map { ("callout", $0.name, $0.provider) }
      + providerContexts.map { ("provider context", $0.name, $0.provider) }
    for (kind, name, provider) in owned {
      guard let provider, !known.contains(provider) else { continue }
      throw .unknownProvider(kind: kind, name: name, provider: provider)
    }
  }
}
