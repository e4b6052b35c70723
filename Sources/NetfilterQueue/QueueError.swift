// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// Why a queue could not be opened or used, and what to do about it.
public enum QueueError: Error, Hashable, Sendable, CustomStringConvertible {
  /// CAP_NET_ADMIN is missing.
  case notPermitted(queue: UInt16)
  /// Another program has bound this queue.
  case owned(queue: UInt16, portID: UInt32, process: String?)
  /// The kernel has no NFQUEUE.
  case unsupported(queue: UInt16)
  /// The kernel refuses one of the asked-for flags.
  case flagRefused(queue: UInt16, flag: String)
  /// The kernel keeps the bound queue as it was.
  case notReconfigured(queue: UInt16)
  /// Anything else the kernel said.
  case system(SystemError)

  /// The error and its remedy in one sentence.
  public var description: String {
    switch self {
    case .notPermitted(let queue):
      "queue \(queue): not permitted; run as root or give the process CAP_NET_ADMIN"
    case .owned(let queue, let portID, let process):
      "queue \(queue) is bound by netlink port \(portID)"
        + (process.map { " (process \($0))" } ?? "")
        + "; stop that program or choose other numbers with queues.first"
    case .unsupported(let queue):
      "queue \(queue): this kernel has no NFQUEUE; load the module nfnetlink_queue"
    case .flagRefused(let queue, let flag):
      "queue \(queue): this kernel refuses \(flag); leave it out"
    case .notReconfigured(let queue):
      "queue \(queue): the kernel keeps its old copy range; restart to bind it anew"
    case .system(let error):
      error.description
    }
  }
}
