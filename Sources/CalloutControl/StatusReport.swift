// SPDX-License-Identifier: Apache-2.0

/// How the daemon is: the answer to `status`.
public struct StatusReport: Codable, Sendable, Hashable {
  /// What the daemon is doing.
  public enum State: String, Codable, Sendable {
    /// Queues are being bound and rules installed.
    case starting
    /// Packets are classified.
    case running
    /// Rules are gone; what waits is being decided.
    case stopping
  }

  /// The policy in force.
  public struct Policy: Codable, Sendable, Hashable {
    /// Where it was read.
    public var file: String
    /// How many sublayers it names.
    public var sublayers: Int
    /// How many callouts it has.
    public var callouts: Int
    /// How many filters it has.
    public var filters: Int
    /// How often it has been replaced.
    public var reloads: Int

    /// A policy.
    public init(file: String, sublayers: Int, callouts: Int, filters: Int, reloads: Int) {
      self.file = file
      self.sublayers = sublayers
      self.callouts = callouts
      self.filters = filters
      self.reloads = reloads
    }
  }

  /// What the daemon is doing.
  public var state: State
  /// Its version.
  public var version: String
  /// Whether every queue and the rules are as they should be.
  public var healthy = true
  /// How rules are installed.
  public var backend = ""
  /// Who tells what becomes of packets: "kernel" or "verdicts".
  public var source = "verdicts"
  /// Our bits of the mark, nil if nothing can be tagged.
  @Nullable public var markMask: String? = nil
  /// The epoch of this start.
  public var epoch = false
  /// Packets that were received.
  public var packets: UInt64 = 0
  /// Packets that were decided.
  public var verdicts: UInt64 = 0
  /// Packets that met our rules, whichever queue they went to; nil if the rules are not ours.
  @Nullable public var rulePackets: UInt64? = nil
  /// Packets that full queues let pass unseen, nil where that cannot be told.
  @Nullable public var failOpenPasses: UInt64? = nil
  /// What was counted of frames.
  public var frames = FrameReport()
  /// The devices whose frames are or were diverted, each direction by itself.
  public var ports: [PortReport] = []
  /// Associations made.
  public var associated: UInt64 = 0
  /// Associations ended.
  public var ended: UInt64 = 0
  /// Associations that have not ended.
  public var live: UInt64 = 0
  /// Associations ended, by reason; reasons that never occurred are left out.
  public var endedByReason: [String: UInt64] = [:]
  /// Associations refused for want of a handle.
  public var handlesRefused: UInt64 = 0
  /// Packets with a handle that means nothing any more.
  public var staleHandles: UInt64 = 0
  /// Packets with another flow's handle.
  public var foreignFlows: UInt64 = 0
  /// Kernel-made copies met.
  public var copies: UInt64 = 0
  /// Events that did not fit the stream; never a terminal one.
  public var eventsLost: UInt64 = 0
  /// Notify functions that failed.
  public var notifyFailures: UInt64 = 0
  /// Packets that a callout blocked though they had been permitted for good.
  public var vetoes: UInt64 = 0
  /// What the operator ought to know.
  public var warnings: [String] = []
  /// The policy in force.
  public var policy: Policy

  /// A report with nothing counted.
  public init(state: State, version: String, policy: Policy) {
    self.state = state
    self.version = version
    self.policy = policy
  }

  enum CodingKeys: String, CodingKey {
    case state, version, healthy, backend, source, epoch, packets, verdicts, frames, ports
    case associated, ended, live
    case markMask = "mark-mask"
    case rulePackets = "rule-packets"
    case failOpenPasses = "fail-open-passes"
    case endedByReason = "ended-by-reason"
    case handlesRefused = "handles-refused"
    case staleHandles = "stale-handles"
    case foreignFlows = "foreign-flows"
    case copies
    case eventsLost = "events-lost"
    case notifyFailures = "notify-failures"
    case vetoes, warnings, policy
  }
}
