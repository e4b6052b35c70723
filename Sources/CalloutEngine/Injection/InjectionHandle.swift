// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
internal import Synchronization

/// What is under way with one injection handle.
struct InjectionLedger {
  /// Injections that have not been completed.
  private(set) var pending = 0
  private(set) var isClosing = false

  var isDrained: Bool { isClosing && pending == 0 }

  /// Notes that `count` packets set out.
  mutating func begin(_ count: Int) throws(InjectionError) {
    guard !isClosing else { throw .handleClosing }
    pending += max(0, count)
  }

  /// Notes that `count` of them were completed; true if the handle is done with now.
  mutating func complete(_ count: Int) -> Bool {
    guard count > 0, pending > 0 else { return false }
    pending = max(0, pending - count)
    return isDrained
  }

  mutating func close() { isClosing = true }
}

/// What a caller injects with: who it is, and what it may inject.
///
/// Any thread. Mirrors the handle of `FwpsInjectionHandleCreate0`.
public final class InjectionHandle: Sendable {
  /// Tells it from other handles of the engine.
  public let id: InjectionHandleID
  /// What it may inject.
  public let kinds: InjectionKinds
  /// Of which family.
  public let family: InjectionFamily

  private struct State {
    var ledger = InjectionLedger()
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  /// Makes a handle; frames need no family, IP packets do.
  package init(
    _ id: InjectionHandleID, kinds: InjectionKinds, family: InjectionFamily = .unspecified
  ) throws(InjectionError) {
    guard kinds.isSubset(of: .known) else {
      throw .unknownKinds(kinds.subtracting(.known).rawValue)
    }
    guard !kinds.contains(.network) || family != .unspecified else { throw .familyRequired }
    self.id = id
    self.kinds = kinds.resolved
    self.family = family
  }

  /// Packets that were injected with it and have not been completed.
  public var pendingCount: Int { state.withLock { $0.ledger.pending } }

  /// Refuses what the handle is not for.
  package func require(_ kind: InjectionKinds) throws(InjectionError) {
    guard kinds.isSuperset(of: kind) else { throw .handleStale }
    guard !state.withLock({ $0.ledger.isClosing }) else { throw .handleClosing }
  }

  /// Refuses a frame that may not be injected in that direction at `layer`, where
  /// `layers` have filters that ask callouts.
  package func require(
    _ direction: Direction, at layer: Layer, among layers: Set<Layer>
  ) throws(InjectionError) {
    try require(.l2)
    guard layer.indicatesFrames, layer.direction == direction else { throw .wrongLayer(layer) }
    guard layers.contains(layer) else { throw .noCallout(layer: layer) }
  }

  /// Notes that `count` packets set out; each must be completed.
  package func begin(_ count: Int = 1) throws(InjectionError) {
    let refusal = state.withLock { state -> InjectionError? in
      do throws(InjectionError) {
        try state.ledger.begin(count)
        return nil
      } catch {
        return error
      }
    }
    if let refusal { throw refusal }
  }

  /// Notes that `count` of them were completed.
  package func complete(_ count: Int = 1) {
    let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
      guard state.ledger.complete(count) else { return [] }
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Ends the handle: refuses new injections, and returns when all that are pending have been
  /// completed.
  ///
  /// Mirrors `FwpsInjectionHandleDestroy0`.
  public func destroy() async {
    await withCheckedContinuation { continuation in
      let isDone = state.withLock { state in
        state.ledger.close()
        if state.ledger.isDrained { return true }
        state.waiters.append(continuation)
        return false
      }
      if isDone { continuation.resume() }
    }
  }
}

extension FilterPolicy {
  /// The layers at which a filter asks a callout, and so packets can be injected.
  public var injectableLayers: Set<Layer> {
    Set(filters.filter { $0.action.callout != nil }.map(\.layer))
  }
}
