// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Synchronization

/// A change of what the store keeps.
struct KeptChange: Sendable {
  private let store: ObjectStore
  private let old: PersistentObjects
  private let new: PersistentObjects

  /// Nil if nothing is kept or nothing of it changes.
  init?(_ store: ObjectStore?, from old: PersistentObjects, to new: PersistentObjects) {
    guard let store, old != new else { return nil }
    self.store = store
    self.old = old
    self.new = new
  }

  func write() throws(BridgeError) { try store.write(new) }
  func publish() throws(BridgeError) { try store.publish(insteadOf: old) }
  func discard() { store.discard() }
}

extension Bridge {
  /// Takes the store, if there is to be one, and adds what it keeps to the engine's objects.
  func loadObjects(_ engine: inout EngineState) throws(BridgeError) -> ObjectStore? {
    guard let path = configuration.objectStore else { return nil }
    let store = try ObjectStore(at: path)
    let kept = try store.read()
    engine.keepsObjects = true
    do {
      try engine.objects.add(kept, engine.surroundings)
    } catch {
      throw .objectStore(.clash(path: path, error))
    }
    return store
  }

  /// Keeps for good what was written; if that cannot be, the rules are put back.
  func publish(_ change: KeptChange?) async throws(BridgeError) {
    do {
      try change?.publish()
    } catch {
      let (policy, number) = board.withLock { ($0.policy?.policy, $0.policyNumber) }
      do throws(BridgeError) {
        if let policy { try await replaceRules(for: policy, number: number) }
      } catch let failure {
        warn("the kernel decides by a policy that was not kept; reload to put it right: \(failure)")
      }
      throw error
    }
  }
}
