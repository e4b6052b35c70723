// SPDX-License-Identifier: Apache-2.0

/// One queue: a line of the answer to `queues`.
public struct QueueReport: Codable, Sendable, Hashable {
  /// The queue's number.
  public var queue: UInt16
  /// The netlink port that has bound it.
  public var portID: UInt32 = 0
  /// Bytes of each packet that are copied.
  public var copyRange: UInt32 = 0
  /// Packets that may wait.
  public var maximumLength: UInt32 = 0
  /// Packets received.
  public var packets: UInt64 = 0
  /// Their bytes.
  public var bytes: UInt64 = 0
  /// Packets decided.
  public var verdicts: UInt64 = 0
  /// Packets let go.
  public var permitted: UInt64 = 0
  /// Packets dropped.
  public var blocked: UInt64 = 0
  /// Packets dropped without a word.
  public var absorbed: UInt64 = 0
  /// Those of the packets that were frames on bridges.
  public var bridgedFrames: UInt64 = 0
  /// Packets sent through their hook again.
  public var repeated: UInt64 = 0
  /// Packets handed to other queues.
  public var requeued: UInt64 = 0
  /// Packets that callouts kept waiting.
  public var pended: UInt64 = 0
  /// Packets that are kept waiting now.
  public var pendedNow: Int = 0
  /// Packets kept waiting past their deadline.
  public var pendExpired: UInt64 = 0
  /// Packets that the failure policy decided.
  public var failurePolicyApplied: UInt64 = 0
  /// Packets whose headers cannot be read.
  public var malformed: UInt64 = 0
  /// Packets changed.
  public var rewritten: UInt64 = 0
  /// Changes refused.
  public var rewritesRefused: UInt64 = 0
  /// Packets that a callout blocked though they had been permitted for good.
  public var vetoes: UInt64 = 0
  /// Netlink messages that carried verdicts.
  public var verdictMessages: UInt64 = 0
  /// Verdicts that the kernel refused.
  public var verdictErrors: UInt64 = 0
  /// Packets whose verdicts the kernel would not take at all.
  public var verdictsUnsent: UInt64 = 0
  /// Those, by the name or number of the error.
  public var refusals: [String: UInt64] = [:]
  /// Packet ids that the kernel has issued.
  public var idsIssued: UInt64 = 0
  /// Ids that were issued but never came: lost at the socket.
  public var idGaps: UInt64 = 0
  /// Packets that the kernel dropped while they waited.
  public var flushed: UInt64 = 0
  /// Packets that wait in the kernel.
  public var waiting: UInt32 = 0
  /// Packets that the kernel dropped because the queue was full.
  public var queueDropped: UInt32 = 0
  /// Packets that the kernel dropped because the socket was full.
  public var userDropped: UInt32 = 0
  /// The socket's own drops.
  public var socketDrops: UInt64 = 0
  /// Packets that met the rules; shared by all queues of the rules, nil if rules are not ours.
  @Nullable public var rulePackets: UInt64? = nil
  /// Packets that a full queue let pass; nil where it cannot be known.
  @Nullable public var failOpenPasses: UInt64? = nil
  /// The socket's receive buffer in bytes.
  public var receiveBufferBytes: Int = 0
  /// Associations made by this queue's worker.
  public var associated: UInt64 = 0
  /// Associations of it that have not ended.
  public var live: UInt64 = 0

  /// A report with nothing counted.
  public init(queue: UInt16) { self.queue = queue }

  enum CodingKeys: String, CodingKey {
    case queue
    case portID = "port-id"
    case copyRange = "copy-range"
    case maximumLength = "max-length"
    case packets, bytes, verdicts, permitted, blocked, absorbed, repeated, requeued, pended
    case bridgedFrames = "bridged-frames"
    case pendedNow = "pended-now"
    case pendExpired = "pend-expired"
    case failurePolicyApplied = "failure-policy-applied"
    case malformed, rewritten
    case rewritesRefused = "rewrites-refused"
    case vetoes
    case verdictMessages = "verdict-messages"
    case verdictErrors = "verdict-errors"
    case verdictsUnsent = "verdicts-unsent"
    case refusals
    case idsIssued = "ids-issued"
    case idGaps = "id-gaps"
    case flushed, waiting
    case queueDropped = "queue-dropped"
    case userDropped = "user-dropped"
    case socketDrops = "socket-drops"
    case rulePackets = "rule-packets"
    case failOpenPasses = "fail-open-passes"
    case receiveBufferBytes = "receive-buffer-bytes"
    case associated, live
  }
}
