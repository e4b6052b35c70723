// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

/// What a callout says about a packet: the decision, its tags, its new contents.
///
/// Mirrors `FWPS_CLASSIFY_OUT0` together with the tagging functions. Valid only inside `classify`.
public struct Classification: ~Copyable {
  /// A callout's answer.
  ///
  /// The last call before `classify` returns counts.
  package enum Answer: BitwiseCopyable {
    case none, permit, block, absorb, `continue`, `repeat`
    case requeue(UInt16)
    case pend(deadline: UInt64)
    case hold(until: UInt64, permits: Bool)
  }

  package var answer = Answer.none
  /// Whether the callout may decide freely.
  ///
  /// If not, it may only turn a permit into a block. Mirrors `FWPS_RIGHT_ACTION_WRITE`.
  public internal(set) var canWrite = true
  package var clearsWrite = false
  /// Whether the filter is terminating: no answer blocks.
  ///
  /// Mirrors `FWP_ACTION_CALLOUT_TERMINATING`.
  public internal(set) var mustDecide = false
  /// The number that the filter has for the callout, 0 for none.
  ///
  /// Mirrors `FWPS_FILTER2.context`.
  public internal(set) var filterContext: UInt64 = 0
  package var contexts: ContextTable
  package var packet = TaggedPacket()
  package var rewritten = RewrittenPacket()
  package var rewrittenFrame = RewrittenFrame()
  /// A diverted frame is classified, which cannot wait in the kernel.
  var isDiverted = false
  /// What is known of the packets that this engine has injected.
  var injections = InjectionRecords()
  /// Where what is classified was taken from: a device's frames in one direction, 0 for hooks.
  package var place: UInt64 = 0
  /// The frames of the chain that a callout is asked about.
  var selection = FrameSelection()
  /// Where the filters are looked up that can match.
  var search = FilterSearch()
  package var events = CalloutEvents()
  /// The flows of the packets, and which of them the packet is of, -1 of none.
  package var flows = FlowTable(capacity: 0)
  package var flow: Int32 = -1
  /// Whether packets' flows are looked up, and what each callout has said of flows.
  package var followsFlows = false
  package var flowRules: [FlowRule] = []
  /// A callout has released the flow since this was last set back.
  package var hasReleased = false
  var askedCallout: Int32 = -1
  /// Whether the packet's flow was authorized under an earlier policy and is authorized again: it
  /// cannot be pended then.
  ///
  /// `FWP_CONDITION_FLAG_IS_REAUTHORIZE`.
  public package(set) var isReauthorization = false
  /// Who has the socket of the flow on this host: while its first packet is at an authorization layer,
  /// where the policy asks for it and it could be found.
  ///
  /// Mirrors `processId` and `processPath` of `FWPS_INCOMING_METADATA_VALUES0`.
  public package(set) var process: FlowProcess?
  package let desk: any PacketDesk
  private let defaultDeadline: UInt64
  /// The queues that somebody had bound at `boundQueuesTime`; asked anew ten times a second.
  private var boundQueues: [UInt16] = []
  private var boundQueuesTime: UInt64 = 0
  private static let boundQueuesAge: UInt64 = 100_000_000

  /// A classification that tags in `contexts`; `desk` answers for packets that leave the call.
  package init(
    contexts: consuming ContextTable, desk: any PacketDesk, pendDeadline: UInt64
  ) {
    self.contexts = contexts
    self.desk = desk
    defaultDeadline = min(pendDeadline, Self.nanoseconds(.seconds(3600)))
  }

  /// Lets the packet go on; a filter of a lower sublayer may still block it.
  ///
  /// `FWP_ACTION_PERMIT`.
  public mutating func permit() { answer = .permit }

  /// Drops the packet, unless a lower sublayer permits it.
  ///
  /// `FWP_ACTION_BLOCK`.
  public mutating func block() { answer = .block }

  /// Drops the packet without a word to anybody.
  ///
  /// `FWP_ACTION_BLOCK` with
  /// `FWPS_CLASSIFY_OUT_FLAG_ABSORB`.
  public mutating func absorb() { answer = .absorb }

  /// Leaves the decision to the filters that come after.
  ///
  /// `FWP_ACTION_CONTINUE`.
  public mutating func `continue`() { answer = .continue }

  /// Has the packet run through this hook again, four times at most.
  ///
  /// `NF_REPEAT`.
  ///
  /// A diverted frame cannot; the answer stays as it was, and that is counted.
  public mutating func `repeat`() {
    guard canWait() else { return }
    answer = .repeat
  }

  /// Hands the packet to another program's queue.
  ///
  /// `NF_QUEUE`.
  public mutating func requeue(to queue: UInt16) throws(RequeueError) {
    guard !isDiverted else { throw .notAtLayer }
    if contexts.now &- boundQueuesTime >= Self.boundQueuesAge || boundQueues.isEmpty {
      boundQueues = desk.boundQueues()
      boundQueuesTime = contexts.now
    }
    guard boundQueues.contains(queue) else { throw .notBound(queue: queue) }
    answer = .requeue(queue)
  }

  /// Keeps the packet waiting.
  ///
  /// After arbitration the callout's `pended` gets it to decide.
  ///
  /// After `deadline` (the policy's if nil) the failure policy decides. A diverted frame cannot wait:
  /// the answer stays as it was, and that is counted. Absorb it and inject a clone, or hold it. So it
  /// is for a packet of a flow that is authorized again: `STATUS_FWP_CANNOT_PEND`.
  public mutating func pend(deadline: Duration? = nil) {
    guard canWait(), canPend() else { return }
    let wait = deadline.map(Self.nanoseconds) ?? defaultDeadline
    answer = .pend(deadline: contexts.now &+ wait)
  }

  /// Keeps the packet waiting for a time, then permits or blocks it.
  ///
  /// A diverted frame is absorbed, and a copy of it injected again when the time has come. A packet
  /// of a flow that is authorized again is permitted or blocked at once.
  public mutating func hold(for time: Duration, thenPermit permits: Bool) {
    if isReauthorization {
      answer = permits ? .permit : .block
      return
    }
    answer = .hold(until: contexts.now &+ Self.nanoseconds(time), permits: permits)
  }

  /// Makes the decision final for lower sublayers.
  ///
  /// Mirrors clearing `FWPS_RIGHT_ACTION_WRITE`.
  public mutating func clearWriteRight() { clearsWrite = true }

  /// Whether what is classified waits in the kernel; counts the answers of those that do not.
  private mutating func canWait() -> Bool {
    if isDiverted { events.answersRefused &+= 1 }
    return !isDiverted
  }

  private mutating func canPend() -> Bool {
    if isReauthorization { events.answersRefused &+= 1 }
    return !isReauthorization
  }

  /// Nanoseconds of a positive duration, at most an hour.
  static func nanoseconds(_ duration: Duration) -> UInt64 {
    let (seconds, attoseconds) = duration.components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    return UInt64(min(seconds, 3600)) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
  }
}

// MARK: - Tags

extension Classification {
  /// Puts a context on the packet.
  ///
  /// Mirrors `FwpsNetBufferListAssociateContext1`.
  public mutating func associate(
    _ context: UInt64, with tag: ContextTag, notify: NotifyID = .none, flags: UInt32 = 0
  ) throws(TaggingError) {
    try contexts.associate(context, with: tag, on: &packet, notify: notify, flags: flags)
  }

  /// The packet's context under `tag`.
  ///
  /// Mirrors `FwpsNetBufferListRetrieveContext0`.
  public mutating func retrieve(
    _ tag: ContextTag, removing: Bool = false, flags: UInt32 = 0
  ) throws(TaggingError) -> UInt64 {
    try contexts.retrieve(tag, from: &packet, removing: removing, flags: flags)
  }

  /// Ends the packet's context under `tag`; the event comes later.
  ///
  /// Mirrors `FwpsNetBufferListRemoveContext0`.
  public mutating func remove(_ tag: ContextTag) throws(TaggingError) {
    _ = try contexts.retrieve(tag, from: &packet, removing: true)
  }

  /// Whether the packet has a context under `tag`.
  public func bears(_ tag: ContextTag) -> Bool {
    packet.handle != 0 && contexts.bears(tag, packet)
  }

  /// The packet's handle, 0 if it has none.
  public var handle: UInt32 { packet.handle }
}

// MARK: - Clones

extension Classification {
  /// Makes a copy of the packet that the callout owns.
  ///
  /// It bears no contexts until some are moved or copied to it. Mirrors
  /// `FwpsAllocateCloneNetBufferList0`; raises `cloned_via_api`.
  public mutating func clone(_ original: borrowing ClassifiedPacket) throws(RewriteError)
    -> PacketClone
  {
    guard original.layout.isCapturedWhole else { throw .truncated }
    var bytes = original.copyBytes()
    if original.metadata.isChecksumPartial { try Self.finishChecksums(of: &bytes, original.layout) }
    contexts.noteClone(of: packet)
    return PacketClone(bytes: bytes, like: packet, injectionTrace, desk: desk)
  }

  /// No device does it for a clone: it is sent as bytes.
  private static func finishChecksums(
    of bytes: inout [UInt8], _ layout: PacketLayout
  ) throws(RewriteError) {
    let count = bytes.count
    var span = bytes.mutableSpan
    var edit = try PacketEdit(
      span.mutablePacketBytes, length: count, layout: layout, checksum: .partial)
    edit.repairChecksums()
  }

  /// Moves the context under `tag` from the packet to its clone.
  public mutating func move(_ tag: ContextTag, to clone: inout PacketClone) throws(TaggingError) {
    try contexts.move(tag, from: &packet, to: &clone.packet)
  }

  /// Puts the context under `tag` on the clone too.
  public mutating func copy(_ tag: ContextTag, to clone: inout PacketClone) throws(TaggingError) {
    try contexts.copy(tag, from: packet, to: &clone.packet)
  }

  /// The clone's context under `tag`.
  public mutating func retrieve(
    _ tag: ContextTag, from clone: inout PacketClone, removing: Bool = false
  ) throws(TaggingError) -> UInt64 {
    try contexts.retrieve(tag, from: &clone.packet, removing: removing)
  }
}

/// What callouts counted; read by the worker.
package struct CalloutEvents: BitwiseCopyable {
  /// Rewrites that were refused.
  package var rewritesRefused: UInt64 = 0
  /// Repeats and pends of frames, which cannot be done.
  package var answersRefused: UInt64 = 0
  /// Blocks of what a higher sublayer had permitted for good.
  package var vetoes: UInt64 = 0
}
