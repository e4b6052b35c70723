// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
internal import Synchronization

/// Changes of a bridge's objects that come into force together, or not at all.
///
/// Nothing of it is in force before `commit`. Each packet, at each hook, is decided wholly by what
/// was in force before or wholly by what is after. One that meets several hooks may meet the change
/// between two of them, and queues change one after the other, each between two of its packets; all
/// have when `commit` returns. Dropping the transaction aborts it.
public final class EngineTransaction: Sendable {
  private let session: EngineSession
  /// Nil once it has ended.
  private let draft: Mutex<EngineObjects?>
  private let surroundings: EngineObjects.Surroundings
  /// Whether what was kept is in the draft.
  private let keepsObjects: Bool

  init(_ session: EngineSession, _ engine: EngineState) {
    self.session = session
    draft = Mutex(engine.objects)
    surroundings = engine.surroundings
    keepsObjects = engine.keepsObjects
  }

  deinit { abort() }

  /// Adds a provider.
  ///
  /// Mirrors `FwpmProviderAdd0`.
  @discardableResult
  public func add(_ provider: Provider) throws(EngineError) -> ObjectKey {
    try change { objects, owner throws(EngineError) in
      try objects.add(provider, session: owner, surroundings)
    }
  }

  /// Adds a sublayer.
  ///
  /// Mirrors `FwpmSubLayerAdd0`.
  @discardableResult
  public func add(_ sublayer: Sublayer) throws(EngineError) -> ObjectKey {
    try change { objects, owner throws(EngineError) in
      try objects.add(sublayer, session: owner, surroundings)
    }
  }

  /// Adds a callout, which may be registered or not.
  ///
  /// Mirrors `FwpmCalloutAdd0`.
  @discardableResult
  public func add(_ callout: AddedCallout) throws(EngineError) -> ObjectKey {
    try change { objects, owner throws(EngineError) in
      try objects.add(callout, session: owner, surroundings)
    }
  }

  /// Adds a provider context.
  ///
  /// Mirrors `FwpmProviderContextAdd0`.
  @discardableResult
  public func add(_ context: ProviderContext) throws(EngineError) -> ObjectKey {
    try change { objects, owner throws(EngineError) in
      try objects.add(context, session: owner, surroundings)
    }
  }

  /// Adds a filter; what it names must be there.
  ///
  /// Mirrors `FwpmFilterAdd0`.
  ///
  /// Its conditions are checked, and its callout asked, by `commit`.
  @discardableResult
  public func add(_ filter: Filter) throws(EngineError) -> ObjectKey {
    try change { objects, owner throws(EngineError) in
      try objects.add(filter, session: owner, surroundings)
    }
  }

  /// Deletes a provider that no object belongs to.
  ///
  /// Mirrors `FwpmProviderDeleteByKey0`.
  public func deleteProvider(_ key: ObjectKey) throws(EngineError) {
    try change { objects, owner throws(EngineError) in
      try objects.deleteProvider(key, session: owner)
    }
  }

  /// Deletes a sublayer that no filter names.
  ///
  /// Mirrors `FwpmSubLayerDeleteByKey0`.
  public func deleteSublayer(_ key: ObjectKey) throws(EngineError) {
    try change { objects, owner throws(EngineError) in
      try objects.deleteSublayer(key, session: owner)
    }
  }

  /// Deletes a callout that no filter names.
  ///
  /// Mirrors `FwpmCalloutDeleteByKey0`.
  public func deleteCallout(_ key: ObjectKey) throws(EngineError) {
    try change { objects, owner throws(EngineError) in
      try objects.deleteCallout(key, session: owner)
    }
  }

  /// Deletes a provider context that no filter names.
  ///
  /// Mirrors `FwpmProviderContextDeleteByKey0`.
  public func deleteProviderContext(_ key: ObjectKey) throws(EngineError) {
    try change { objects, owner throws(EngineError) in
      try objects.deleteProviderContext(key, session: owner)
    }
  }

  /// Deletes a filter.
  ///
  /// Mirrors `FwpmFilterDeleteByKey0`.
  public func deleteFilter(_ key: ObjectKey) throws(EngineError) {
    try change { objects, owner throws(EngineError) in
      try objects.deleteFilter(key, session: owner)
    }
  }

  /// Puts all changes in force at once; on an error none, and the transaction has ended too.
  ///
  /// Changes of persistent objects are on the disk when it returns.
  ///
  /// Mirrors `FwpmTransactionCommit0`.
  public func commit() async throws(BridgeError) {
    guard let objects = draft.withLock({ $0.take() }) else { throw .engine(.noTransaction) }
    defer { session.leaveTransaction() }
    try await session.bridge.change { [keepsObjects] engine throws(BridgeError) in
      guard engine.keepsObjects == keepsObjects else { throw .engine(.transactionAborted) }
      engine.objects = objects
    }
  }

  /// Forgets all changes; does nothing once the transaction has ended.
  ///
  /// Mirrors `FwpmTransactionAbort0`.
  public func abort() {
    guard draft.withLock({ $0.take() }) != nil else { return }
    session.leaveTransaction()
  }

  private func change<Success: Sendable>(
    _ body: (inout EngineObjects, UInt64?) throws(EngineError) -> Success
  ) throws(EngineError) -> Success {
    let owner = session.owner
    return try draft.withLock { draft throws(EngineError) in
      // Taken out while it changes, so that it is not copied.
      guard var objects = draft.take() else { throw .noTransaction }
      defer { draft = objects }
      return try body(&objects, owner)
    }
  }
}
