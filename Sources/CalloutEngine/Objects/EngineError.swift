// SPDX-License-Identifier: Apache-2.0

/// What kinds of objects there are.
public enum ObjectKind: String, Sendable, Hashable {
  case provider, sublayer, callout, filter
  case providerContext = "provider context"
}

/// Why an object cannot be added or deleted, or a transaction not begun; nothing has changed.
public enum EngineError: Error, Sendable, Hashable, CustomStringConvertible {
  /// There is no such object.
  ///
  /// `STATUS_FWP_FILTER_NOT_FOUND` and those of the other kinds.
  case notFound(ObjectKind, String)
  /// One of that key or name is there. `STATUS_FWP_ALREADY_EXISTS`.
  case alreadyExists(ObjectKind, String)
  /// Other objects name it. `STATUS_FWP_IN_USE`.
  case inUse(ObjectKind, String, by: String)
  /// It belongs to another dynamic session. `STATUS_FWP_WRONG_SESSION`.
  case wrongSession(ObjectKind, String)
  /// It would outlive what it names. `STATUS_FWP_LIFETIME_MISMATCH`.
  case lifetimeMismatch(ObjectKind, String, names: String)
  /// It is always there. `STATUS_FWP_BUILTIN_OBJECT`.
  case builtIn(ObjectKind, String)
  /// Nothing is kept beyond the process, or not yet. `STATUS_FWP_INVALID_FLAGS`.
  case notKept(ObjectKind, String)
  /// What a dynamic session adds goes with it, so it cannot be persistent.
  ///
  /// `STATUS_FWP_DYNAMIC_SESSION_IN_PROGRESS`.
  case dynamicSession(ObjectKind, String)
  /// The session has a transaction that has not ended. `STATUS_FWP_TXN_IN_PROGRESS`.
  case transactionInProgress
  /// The transaction has been committed or aborted. `STATUS_FWP_NO_TXN_IN_PROGRESS`.
  case noTransaction
  /// The bridge has started, with objects of its store, since the transaction began.
  ///
  /// `STATUS_FWP_TXN_ABORTED`.
  case transactionAborted
  /// The session has been closed. `STATUS_FWP_SESSION_ABORTED`.
  case sessionClosed
  /// Another session's transaction has not ended in time. `STATUS_FWP_TIMEOUT`.
  case timeout

  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .notFound(let kind, let name): "there is no \(kind.rawValue) \"\(name)\"; add it first"
    case .alreadyExists(let kind, let name):
      "there is a \(kind.rawValue) \"\(name)\" already; delete it first, or take another name or key"
    case .inUse(let kind, let name, let user):
      "\(kind.rawValue) \"\(name)\" is named by \(user); delete that first"
    case .wrongSession(let kind, let name):
      "\(kind.rawValue) \"\(name)\" belongs to another dynamic session"
    case .lifetimeMismatch(let kind, let name, let other):
      "\(kind.rawValue) \"\(name)\" would outlive \(other); give that the longer life too: add it in "
        + "the same dynamic session, in a session that is not dynamic, or as persistent"
    case .builtIn(let kind, let name): "\(kind.rawValue) \"\(name)\" is always there"
    case .notKept(let kind, let name):
      "\(kind.rawValue) \"\(name)\" cannot be persistent: set the bridge's objectStore to a file that "
        + "keeps it, and add it once the bridge has started"
    case .dynamicSession(let kind, let name):
      "\(kind.rawValue) \"\(name)\" cannot be persistent, since what a dynamic session adds goes with "
        + "it; add it in a session that is not dynamic"
    case .transactionInProgress:
      "the session has a transaction that has not ended; commit or abort it first"
    case .noTransaction: "the transaction has been committed or aborted; begin another"
    case .transactionAborted:
      "the bridge has started since the transaction began; begin another"
    case .sessionClosed: "the session has been closed; open another"
    case .timeout: "another session's transaction has not ended in time; try again later"
    }
  }

  /// The number that WFP has for it.
  public var status: WFPStatus {
    switch self {
    case .notFound(.provider, _): .providerNotFound
    case .notFound(.sublayer, _): .sublayerNotFound
    case .notFound(.callout, _): .calloutNotFound
    case .notFound(.filter, _): .filterNotFound
    case .notFound(.providerContext, _): .providerContextNotFound
    case .alreadyExists: .alreadyExists
    case .inUse: .inUse
    case .wrongSession: .wrongSession
    case .lifetimeMismatch: .lifetimeMismatch
    case .builtIn: .builtInObject
    case .notKept: .invalidFlags
    case .dynamicSession: .dynamicSessionInProgress
    case .transactionInProgress: .transactionInProgress
    case .noTransaction: .noTransactionInProgress
    case .transactionAborted: .transactionAborted
    case .sessionClosed: .sessionAborted
    case .timeout: .timeout
    }
  }
}
