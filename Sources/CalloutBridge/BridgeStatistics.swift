// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// What a bridge has counted since it started.
public struct BridgeStatistics: Sendable {
  /// Who installs the rules: a back end's name or "unmanaged".
  public var backend = "unmanaged"
  /// Whether the kernel itself tells what becomes of packets; if not, the verdicts do.
  public var isObserved = false
  /// Our bits of the mark, nil if off.
  public var markMask: UInt32?
  /// The epoch bit of this start.
  public var epoch = false
  /// One for each queue.
  public var queues: [QueueStatistics] = []
  /// What was counted of frames.
  public var frames = FrameStatistics()
  /// One for each device and direction whose frames are or were diverted.
  public var ports: [PortStatistics] = []
  /// The queues' tagging counters, summed.
  public var tagging = TaggingCounters()
  /// One for each tag that was issued by name.
  public var tags: [TagStatistics] = []
  /// How often each filter matched, in the policy's order.
  public var filterHits: [UInt64] = []
  /// How many packets each filter has decided in the kernel, in the policy's order.
  ///
  /// Filters of lower sublayers do not count packets that were blocked or permitted for good there.
  public var kernelHits: [UInt64] = []
  /// How often notify functions failed.
  public var notifyFailures: UInt64 = 0
  /// Packets that met our rules, whichever queue they went to; nil if the rules are not ours.
  public var rulePackets: UInt64?
  /// Packets that full queues let pass unseen, where that can be told.
  public var failOpenPasses: UInt64?
  /// What an operator should know.
  public var warnings: [String] = []
  /// Whether every worker answers, every verdict could be sent and our rules stand.
  public var isHealthy = true
  /// The queues whose workers do not answer.
  public var stuckQueues: [UInt16] = []

  /// Statistics of nothing.
  public init() {}
}

/// What one queue's worker has counted.
///
/// ids issued = verdicts + flushed + id gaps + waiting.
public struct QueueStatistics: Sendable {
  /// The queue's number.
  public var number: UInt16 = 0
  /// The netlink port that owns it.
  public var portID: UInt32 = 0
  /// Bytes of each packet that are copied.
  public var copyRange: UInt32 = 0
  /// Packets that may wait.
  public var maximumLength: UInt32 = 0
  /// Packets received.
  public var packets: UInt64 = 0
  /// Their bytes.
  public var bytes: UInt64 = 0
  /// Let go.
  public var permitted: UInt64 = 0
  /// Dropped.
  public var blocked: UInt64 = 0
  /// Dropped without a word.
  public var absorbed: UInt64 = 0
  /// Those of the packets that were frames on bridges.
  public var bridgedFrames: UInt64 = 0
  /// Sent through the hook again.
  public var repeated: UInt64 = 0
  /// Handed to other programs' queues.
  public var requeued: UInt64 = 0
  /// Handed to the worker that owns the packet's contexts.
  public var handedOver: UInt64 = 0
  /// Kept waiting.
  public var pended: UInt64 = 0
  /// Of these, past their deadline.
  public var pendExpired: UInt64 = 0
  /// Kept waiting before they were classified, until their flows' processes were found.
  public var awaitedProcesses: UInt64 = 0
  /// Decided by the failure policy.
  public var failurePolicyApplied: UInt64 = 0
  /// Not IP packets as they should be.
  public var malformed: UInt64 = 0
  /// Netlink messages that are not what they should be.
  public var malformedMessages: UInt64 = 0
  /// Let go with new contents.
  public var rewritten: UInt64 = 0
  /// Rewrites that were refused.
  public var rewritesRefused: UInt64 = 0
  /// Blocks by callouts of packets that a higher sublayer had permitted for good.
  public var vetoes: UInt64 = 0
  /// Verdicts that the kernel took.
  public var verdicts: UInt64 = 0
  /// Messages they took.
  public var verdictMessages: UInt64 = 0
  /// Ids that were issued but never came: lost between kernel and socket.
  public var idGaps: UInt64 = 0
  /// Packets that the kernel took away while they waited.
  public var flushed: UInt64 = 0
  /// Verdicts that the kernel refused.
  public var verdictErrors: UInt64 = 0
  /// Packets whose verdicts the kernel would not take at all; they wait until the queue is closed.
  public var verdictsUnsent: UInt64 = 0
  /// Refusals by `errno`.
  public var refusals: [Int32: UInt64] = [:]
  /// Packets that wait for a verdict.
  public var waiting: UInt32 = 0
  /// Of these, pended ones.
  public var pendedNow = 0
  /// Of these, packets of which some are gone with a device that was down for a moment.
  public var suspects = 0
  /// Dropped because the queue was full.
  public var queueDropped: UInt32 = 0
  /// Dropped because the socket was full.
  public var userDropped: UInt32 = 0
  /// Messages that the socket could not take.
  public var socketDrops: UInt64 = 0
  /// Ids issued by the kernel.
  public var idsIssued: UInt64 = 0
  /// Packets that met the rules of this queue, where it is the only one and the rules are ours.
  public var rulePackets: UInt64?
  /// Packets that this queue let pass unseen when full, where that can be told.
  public var failOpenPasses: UInt64?
  /// The receive buffer that the kernel granted.
  public var receiveBufferBytes = 0
  /// What its shard of the contexts has counted.
  public var tagging = TaggingCounters()

  /// Statistics of nothing.
  public init() {}
}

/// What was counted under one tag.
public struct TagStatistics: Sendable {
  /// The tag.
  public var tag: ContextTag
  /// The name it was made under.
  public var name: String
  /// Associations made.
  public var associated: UInt64
  /// Associations ended.
  public var ended: UInt64
  /// What was counted under a tag.
  public init(tag: ContextTag, name: String, associated: UInt64, ended: UInt64) {
    self.tag = tag
    self.name = name
    self.associated = associated
    self.ended = ended
  }

  /// Associations that have not ended.
  public var live: UInt64 { associated &- ended }
}

/// How a bridge stopped.
public struct ShutdownReport: Sendable {
  /// Packets that still waited and were decided.
  public var decided = 0
  /// Whether our rules are gone; if not, they are empty and `rules remove` takes them away.
  public var rulesRemoved = false
  /// What else an operator should know.
  public var notes: [String] = []

  /// A report of nothing.
  public init() {}
}
