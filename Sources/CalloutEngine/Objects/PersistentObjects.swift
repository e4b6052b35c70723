// SPDX-License-Identifier: Apache-2.0

/// The objects of sessions that outlive the process, in the order in which they were added.
package struct PersistentObjects: Sendable, Hashable {
  package var providers: [Provider] = []
  package var sublayers: [Sublayer] = []
  package var callouts: [AddedCallout] = []
  package var providerContexts: [ProviderContext] = []
  package var filters: [Filter] = []

  /// None.
  package init() {}
}

extension EngineObjects {
  /// What is to be there after a restart.
  package var persistent: PersistentObjects {
    var kept = PersistentObjects()
    kept.providers = providers.persistent
    kept.sublayers = sublayers.persistent
    kept.callouts = callouts.persistent
    kept.providerContexts = providerContexts.persistent
    kept.filters = filters.persistent
    return kept
  }

  /// Adds what was kept; what it names must be there, as when it was added.
  package mutating func add(
    _ kept: PersistentObjects, _ others: Surroundings
  ) throws(EngineError) {
    for provider in kept.providers { _ = try add(provider, session: nil, others) }
    for sublayer in kept.sublayers { _ = try add(sublayer, session: nil, others) }
    for callout in kept.callouts { _ = try add(callout, session: nil, others) }
    for context in kept.providerContexts { _ = try add(context, session: nil, others) }
    for filter in kept.filters { _ = try add(filter, session: nil, others) }
  }
}
