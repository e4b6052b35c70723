// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// Why rules could not be read, installed or removed; each description says what to do.
public enum RuleError: Error, Equatable, Sendable {
  /// The kernel refused an operation. `message` is the kernel's own explanation, where it gave one.
  case refused(operation: String, errno: Int32, message: String?)
  /// Neither the kernel nor the host has what is needed.
  case unsupported(String)
  /// The frames of bridges cannot be queued here.
  case noBridgeQueue(reason: String)
  /// iptables and ipset cannot decide the filters that the kernel is to decide.
  case noKernelFilters(reason: String)
  /// A program is not installed.
  case missingProgram(String)
  /// A program ran and failed.
  case programFailed(command: String, status: Int32, message: String)
  /// A file could not be read.
  case unreadable(path: String, errno: Int32)
  /// An answer of the kernel or of a program could not be understood.
  case malformedAnswer(from: String, detail: String)
  /// The rules asked for make no sense.
  case invalidRuleSet(String)
  /// Our table holds a chain that an update cannot turn into the one wanted.
  case leftoverChain(table: String, chain: String, found: String)
  /// The rules in our table feed another program, which is alive and listens on these queues.
  case tableInUse(table: String, queues: [QueueStatus])
  /// Boot-time rules are asked for while the engine that ends them runs.
  case engineRuns(queues: [QueueStatus])
  /// Rules were refused, and those that were replaced before could not be put back.
  indirect case notPutBack(cause: RuleError, rules: RuleError)
  /// Other rules use bits of the mark field.
  case conflicts(mask: UInt32, uses: [MarkUse])
  /// Removing our chains would drop the packets that wait in these queues.
  case queuesHoldPackets([QueueStatus])

  /// True if the kernel said that it lacks a feature, false if it said no for another reason.
  var meansUnsupported: Bool {
    switch self {
    case .refused(_, let errno, _): KernelErrno.absences.contains(errno)
    case .unsupported, .noBridgeQueue, .noKernelFilters: true
    default: false
    }
  }
}

extension RuleError: CustomStringConvertible {
  /// What happened, of which operation, and what can be done.
  public var description: String {
    switch self {
    case .refused(let operation, let errno, let message):
      let detail = message.map { ": \($0)" } ?? ""
      return "\(operation): \(SystemError.text(for: errno))\(detail)\(KernelErrno.remedy(errno))"
    case .unsupported(let what):
      return "\(what): load nft_queue or xt_NFQUEUE, or install iptables"
    case .noBridgeQueue(let reason):
      return "the frames of bridges cannot be queued (\(reason)): use a kernel with nft_queue and "
        + "nf_tables' bridge family and the back end nft, or the MAC layers of the bridge's ports"
    case .noKernelFilters(let reason):
      return
        "iptables cannot decide these filters in the kernel (\(reason)): install ipset, use the "
        + "back end nft, or let kernel-filters be off"
    case .missingProgram(let name):
      return "\(name) is not installed: install it, or choose another rules backend"
    case .programFailed(let command, let status, let message):
      return "\(command): status \(status): \(message)"
    case .unreadable(let path, let errno):
      return "\(path): \(SystemError.text(for: errno))\(KernelErrno.remedy(errno))"
    case .malformedAnswer(let source, let detail):
      return "\(source): not understood: \(detail) (please report this)"
    case .invalidRuleSet(let reason):
      return reason
    case .leftoverChain(let table, let chain, let found):
      return "table \(table) has a chain \(chain) that is not ours (\(found)): rename that chain, "
        + "or choose another table name"
    case .tableInUse(let table, let queues):
      let list = queues.map { status in
        "queue \(status.number) of \(status.ownerName ?? "port") \(status.portID)"
      }
      return "the rules in table \(table) belong to another program that is alive "
        + "(\(list.joined(separator: ", "))): stop it, or choose another table name"
    case .engineRuns(let queues):
      let list = queues.map { status in
        "queue \(status.number) of \(status.ownerName ?? "port") \(status.portID)"
      }
      return "boot-time filters act until calloutd's own rules stand, and it runs already "
        + "(\(list.joined(separator: ", "))): leave them until the next boot, or stop it first"
    case .notPutBack(let cause, let rules):
      return "\(cause); the IPv4 rules are replaced already and cannot be put back: \(rules)"
    case .conflicts(let mask, let uses):
      let list = uses.map { "  \($0)" }.joined(separator: "\n")
      return "mark field \(hexadecimal(mask)) is used by other rules; choose another mask, change "
        + "those rules, or turn marks off:\n\(list)"
    case .queuesHoldPackets(let queues):
      let list = queues.map { "queue \($0.number): \($0.waiting) waiting" }
      return "removing our chains drops every waiting packet of this network namespace "
        + "(\(list.joined(separator: ", "))): wait until they are answered, or force it"
    }
  }
}
