// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import CalloutLifecycle
internal import FirewallRules
internal import Kernel
internal import LinkLayer
public import Logging
internal import NetfilterQueue
public import PacketTagging
internal import Synchronization

/// Callouts between netfilter and Swift: queues, workers, contexts, rules and events in one.
///
/// Make it, make tags, `start` it with a policy, `stop` it. All methods may be called from any
/// thread. On a worker's own (in `classify`, `pended`, `filterChanged` and `makeInstance`) none can
/// wait for that worker: `registerNotify`, `events` and `removeAll` take effect there after the call.
public final class Bridge: Sendable {
  let configuration: BridgeConfiguration
  let logger: Logger
  let issuer = TagIssuer()
  let stream: EventStream
  let board = Mutex(Board())
  let changes = ChangeLine()
  /// Who may change what sessions have added.
  let transactions = TransactionLock()
  let injections = InjectionDesk()
  /// Places in the kernel's code that events have named.
  let places = Mutex<[UInt32: String]>([:])

  /// What `start` makes and `stop` takes down.
  struct Board: Sendable {
    enum Phase { case new, running, stopped }
    var phase = Phase.new
    var workers: [Worker] = []
    var policy: CompiledPolicy?
    /// What that policy is made of.
    var engine = EngineState()
    /// What keeps persistent objects, if anything does.
    var objectStore: ObjectStore?
    var lastSession: UInt64 = 0
    var field: MarkField?
    var epoch = false
    var firewall: Firewall?
    /// The rules that are in force, if they are ours.
    var rules: RuleSet?
    /// The packets that filters of earlier rule sets have decided in the kernel.
    var earlierKernelHits: [Filter: UInt64] = [:]
    /// Rule packets of rule sets that were replaced: a replaced rule counts from 0 again.
    var earlierRulePackets: UInt64 = 0
    var tagNames: [(tag: ContextTag, name: String)] = []
    var warnings: [String] = []
    /// The kernel has said that it cannot send conntrack values.
    var refusesConntrack = false
    var observer: KernelObserver?
    var capture: CaptureSession?
    var dropSessions: [DropSession] = []
    var flowTracker: FlowTracker?
    var flowReleaser: FlowReleaser?
    var processResolver: ProcessResolver?
    /// The bits of the conntrack mark that released flows get.
    var flowMark: FlowMark?
    /// Whether we have connections tracked.
    var isTracking = false
    /// The number of the policy in force, as the marks of released flows have it.
    ///
    /// It begins anywhere, for marks outlive who has set them.
    var policyNumber = UInt32.random(in: 0...UInt32.max)
    /// The number of the policy that will come; never 0.
    var nextPolicyNumber: UInt32 { policyNumber == .max ? 1 : policyNumber + 1 }
    /// The interfaces whose frames the MAC layers see.
    var interfaces = InterfaceNames([])
    var interfaceWatch: InterfaceWatch?
    /// What keeps our clsact disciplines while no filter needs them, see `keepPlace`.
    var places: [FramePort.Name: FrameInjector] = [:]
  }

  /// A bridge that does nothing yet.
  public init(_ configuration: BridgeConfiguration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
    board.withLock { $0.interfaces = InterfaceNames(configuration.interfaces) }
    let interest = InterestSwitch()
    stream = EventStream(logger: logger) { interest.change($0) }
    interest.bridge.withLock { $0 = WeakBridge(bridge: self) }
  }

  /// A new tag, to be used by any callout.
  ///
  /// Mirrors `FwpsNetBufferListGetTagForContext0`.
  ///
  /// After 16 million tags it gives one that every tagging call refuses as unknown.
  public func makeTag(named name: String, onCopy disposition: CopyDisposition = .share)
    -> ContextTag
  {
    let tag = issuer.makeTag(onCopy: disposition) ?? ContextTag(rawValue: 0)
    board.withLock { $0.tagNames.append((tag, name)) }
    return tag
  }

  /// The name that a tag was made under.
  public func name(of tag: ContextTag) -> String? {
    board.withLock { board in board.tagNames.first { $0.tag == tag }?.name }
  }

  /// Our bits of the mark, once the bridge has started.
  public var markField: MarkField? { board.withLock { $0.field } }

  /// Registers a notify function, for `associate` to ask for.
  ///
  /// It runs after the fact, on the event thread, and cannot veto; if it throws, that is counted
  /// and logged, the packet is unaffected.
  ///
  /// Mirrors the `notifyFn` of `FwpsNetBufferListAssociateContext1`.
  public func registerNotify(
    _ name: String, _ body: @escaping @Sendable (LifeEvent) throws -> Void
  ) -> NotifyID {
    let notify = stream.register(name, body)
    let count = notify.rawValue
    for worker in board.withLock({ $0.workers }) {
      _ = worker.mailbox.ask { state in
        state.out.contexts.registeredNotifies = max(state.out.contexts.registeredNotifies, count)
      }
    }
    return notify
  }

  /// All events from now on, in the order of their times, until the bridge stops.
  ///
  /// A consumer that falls `buffering` events behind loses the oldest.
  public func events(buffering: Int = 65536) -> AsyncStream<LifeEvent> {
    stream.subscribe(buffering: buffering)
  }

  /// Ends every association under `tag`, one event each; returns how many.
  ///
  /// A worker that does not answer in time, and the caller's own, end theirs later, not counted.
  ///
  /// Mirrors `FwpsNetBufferListRemoveContext0` without a packet.
  public func removeAll(_ tag: ContextTag) -> Int {
    board.withLock { $0.workers }.reduce(0) { sum, worker in
      sum + (worker.mailbox.ask { $0.out.contexts.removeAll(tag) } ?? 0)
    }
  }

  fileprivate func interestChanged() {
    for worker in board.withLock({ $0.workers }) {
      // Read there and then: of two changes at once the later may have been posted first.
      _ = worker.mailbox.ask { [stream] in
        $0.out.contexts.isWatched = stream.hasSubscribers
      }
    }
  }
}

private struct WeakBridge: Sendable {
  weak let bridge: Bridge?
}

/// Tells the workers whether anybody reads the event stream.
private final class InterestSwitch: Sendable {
  let bridge = Mutex<WeakBridge?>(nil)
  func change(_: Bool) { bridge.withLock { $0 }?.bridge?.interestChanged() }
}
