// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
internal import Synchronization

/// How a session is opened.
///
/// Mirrors `FWPM_SESSION0`.
public struct SessionOptions: Sendable, Hashable {
  /// Whether what the session adds goes when it is closed or dropped.
  ///
  /// If not, it stays until the bridge stops. Mirrors `FWPM_SESSION_FLAG_DYNAMIC`.
  public var isDynamic: Bool
  /// How long `begin` waits for the transactions of others.
  ///
  /// Mirrors `txnWaitTimeoutInMSec`.
  public var transactionTimeout: Duration

  /// Options.
  public init(isDynamic: Bool = false, transactionTimeout: Duration = .seconds(15)) {
    self.isDynamic = isDynamic
    self.transactionTimeout = transactionTimeout
  }
}

/// Somebody who adds objects to a bridge's engine and deletes them.
///
/// Made by `Bridge.openSession`; may be used from any thread, but not from `classify`.
public final class EngineSession: Sendable {
  /// How it was opened.
  public let options: SessionOptions
  let bridge: Bridge
  /// Its number, which its dynamic objects bear.
  let number: UInt64
  private let state = Mutex(State())

  private struct State {
    var isOpen = true
    var transaction: WeakTransaction?
    /// A transaction is being begun, is open, or is being committed.
    var isChanging = false
  }

  private struct WeakTransaction {
    weak var transaction: EngineTransaction?
  }

  init(_ bridge: Bridge, number: UInt64, _ options: SessionOptions) {
    self.bridge = bridge
    self.number = number
    self.options = options
  }

  deinit {
    let hasObjects = options.isDynamic && state.withLock { $0.isOpen }
    guard hasObjects else { return }
    Task { [bridge, number] in try? await bridge.deleteAll(ofSession: number) }
  }

  /// The number that objects bear which go with the session.
  var owner: UInt64? { options.isDynamic ? number : nil }

  /// Begins a transaction: until it ends no other changes the engine's objects.
  ///
  /// Mirrors `FwpmTransactionBegin0`.
  public func begin() async throws(BridgeError) -> EngineTransaction {
    let refusal = state.withLock { state -> EngineError? in
      guard state.isOpen else { return .sessionClosed }
      guard !state.isChanging else { return .transactionInProgress }
      state.isChanging = true
      return nil
    }
    if let refusal { throw .engine(refusal) }
    guard await bridge.transactions.take(within: options.transactionTimeout) else {
      state.withLock { $0.isChanging = false }
      throw .engine(.timeout)
    }
    let transaction = EngineTransaction(self, bridge.board.withLock { $0.engine })
    let isOpen = state.withLock { state in
      state.transaction = WeakTransaction(transaction: transaction)
      return state.isOpen
    }
    guard isOpen else {
      transaction.abort()
      throw .engine(.sessionClosed)
    }
    return transaction
  }

  /// Runs `change` in a transaction, which is committed if it returns and aborted if it throws.
  public func transaction<Success: Sendable>(
    _ change: (EngineTransaction) throws(EngineError) -> Success
  ) async throws(BridgeError) -> Success {
    let transaction = try await begin()
    let success: Success
    do throws(EngineError) {
      success = try change(transaction)
    } catch {
      transaction.abort()
      throw .engine(error)
    }
    try await transaction.commit()
    return success
  }

  /// Adds a filter in a transaction of its own.
  ///
  /// Mirrors `FwpmFilterAdd0`.
  @discardableResult
  public func add(_ filter: Filter) async throws(BridgeError) -> ObjectKey {
    try await transaction { transaction throws(EngineError) in try transaction.add(filter) }
  }

  /// Deletes a filter in a transaction of its own.
  ///
  /// Mirrors `FwpmFilterDeleteByKey0`.
  public func deleteFilter(_ key: ObjectKey) async throws(BridgeError) {
    try await transaction { transaction throws(EngineError) in try transaction.deleteFilter(key) }
  }

  /// Closes the session: aborts its transaction, and deletes what it added if it is dynamic.
  ///
  /// Mirrors `FwpmEngineClose0`.
  ///
  /// If deleting fails, all of it is still there; close it again.
  public func close() async throws(BridgeError) {
    let transaction = state.withLock { state in
      state.isOpen = false
      return state.transaction?.transaction
    }
    transaction?.abort()
    guard options.isDynamic else { return }
    do throws(BridgeError) {
      try await bridge.deleteAll(ofSession: number)
    } catch {
      state.withLock { $0.isOpen = true }
      throw error
    }
  }

  /// The transaction has ended.
  func leaveTransaction() {
    state.withLock { state in
      state.transaction = nil
      state.isChanging = false
    }
    bridge.transactions.release()
  }
}

extension Bridge {
  /// Deletes what goes with a dynamic session.
  fileprivate func deleteAll(ofSession number: UInt64) async throws(BridgeError) {
    _ = await transactions.take(within: nil)
    defer { transactions.release() }
    // Objects of a bridge that has stopped are at work no more.
    guard board.withLock({ $0.phase }) != .stopped else { return }
    try await change { engine in engine.objects.deleteAll(ofSession: number) }
  }
}
