// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// What a probe found out about one feature of the running kernel.
public enum FeatureSupport: Sendable, Hashable {
  /// It works here.
  case supported
  /// It does not, and this is what to do about it.
  case unsupported(reason: String, remedy: String)
  /// The probe could not tell.
  case unknown(reason: String)
}

/// One line of `calloutd probe`.
public struct KernelFeature: Sendable, Hashable {
  /// A short stable name ("nfqueue", "nft-queue").
  public let name: String
  /// The answer.
  public let support: FeatureSupport
  /// What one should know of it where it works.
  public let note: String?

  /// A finding.
  public init(_ name: String, _ support: FeatureSupport, note: String? = nil) {
    self.name = name
    self.support = support
    self.note = note
  }
}

/// The capabilities that Callout asks for.
public enum Capability: UInt64, Sendable, CaseIterable {
  /// CAP_DAC_READ_SEARCH: the open files of others' processes, for the programs of flows.
  case dacReadSearch = 2
  /// CAP_NET_ADMIN: queues, rules, marks.
  case netAdmin = 12
  /// CAP_NET_RAW: raw sockets for injection.
  case netRaw = 13
  /// CAP_SYS_PTRACE: what others' processes have open, for the programs of flows.
  case sysPtrace = 19
  /// CAP_SYSLOG: the addresses of the kernel's functions.
  case syslog = 34
  /// CAP_PERFMON: programs at the kernel's tracepoints.
  case perfmon = 38
  /// CAP_BPF: programs inside the kernel.
  case bpf = 39

  /// The name that `capabilities(7)` uses.
  public var name: String {
    switch self {
    case .dacReadSearch: "CAP_DAC_READ_SEARCH"
    case .netAdmin: "CAP_NET_ADMIN"
    case .netRaw: "CAP_NET_RAW"
    case .sysPtrace: "CAP_SYS_PTRACE"
    case .syslog: "CAP_SYSLOG"
    case .perfmon: "CAP_PERFMON"
    case .bpf: "CAP_BPF"
    }
  }

  /// Whether the calling thread has it in its effective set.
  public var isEffective: Bool {
    var mask: UInt64 = 0
    guard unsafe clx_effective_capabilities(&mask) == 0 else { return false }
    return mask >> rawValue & 1 == 1
  }
}
