// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
internal import CalloutLifecycle
internal import FirewallRules
internal import Kernel
internal import LinkLayer
internal import Logging
internal import NetfilterQueue
internal import PacketTagging
internal import Synchronization

extension Bridge {
  /// Binds the queues, starts the workers and, where the rules are ours, installs them.
  ///
  /// On an error everything is as it was before.
  public func start(_ policy: FilterPolicy) async throws(BridgeError) {
    try await changes.run { [self] () async throws(BridgeError) in
      var (phase, engine) = board.withLock { ($0.phase, $0.engine) }
      guard phase == .new else {
        throw .wrongState("the bridge runs already, or has been stopped")
      }
      engine.policy = policy
      let store = try loadObjects(&engine)
      let compiled = try compile(engine.joined)
      do throws(BridgeError) {
        try await startAll(compiled)
      } catch {
        await takeDown(forGood: false)
        throw error
      }
      board.withLock { board in
        board.policy = compiled
        board.engine = engine
        board.objectStore = store
        board.phase = .running
      }
    }
  }

  /// Puts another policy in force at once; on an error the running one stays.
  ///
  /// What sessions have added stays. Base chains are never touched: only the contents of ours are replaced, in one transaction.
  /// With `interfaces` the MAC layers see the frames of these from now on, else of those they saw.
  public func apply(
    _ policy: FilterPolicy, interfaces: [String]? = nil
  ) async throws(BridgeError) {
    try await change(interfaces: interfaces, mayKeep: false) { $0.policy = policy }
  }

  /// Changes what the policy in force is made of, as a whole or, on an error, not at all.
  ///
  /// Before the start it is only checked and kept, if it may be.
  func change(
    interfaces: [String]? = nil, mayKeep: Bool = true,
    _ edit: @escaping @Sendable (inout EngineState) throws(BridgeError) -> Void
  ) async throws(BridgeError) {
    try await changes.run { [self] () async throws(BridgeError) in
      var (phase, engine) = board.withLock { ($0.phase, $0.engine) }
      guard phase == .running || phase == .new && mayKeep else {
        throw .wrongState("the bridge is not running")
      }
      let before = engine.objects.persistent
      try edit(&engine)
      let compiled = try compile(engine.joined)
      if phase == .running {
        let change = KeptChange(
          board.withLock { $0.objectStore }, from: before, to: engine.objects.persistent)
        try await putInForce(compiled, interfaces: interfaces, keeping: change)
      }
      board.withLock { $0.engine = engine }
    }
  }

  private func putInForce(
    _ compiled: CompiledPolicy, interfaces: [String]?, keeping change: KeptChange?
  ) async throws(BridgeError) {
    let before = board.withLock { $0.interfaces }
    do throws(BridgeError) {
      if let firewall = board.withLock({ $0.firewall }) {
        try checkSwitchLayers(of: compiled, with: firewall)
      }
      if let interfaces {
        board.withLock { $0.interfaces = InterfaceNames(interfaces, following: before) }
      }
      try checkFlowContexts(compiled)
      try await startReleasing(for: compiled)
      try startResolving(for: compiled)
      try prepare(compiled)
      followFlows(for: compiled)
      learnSwitchPorts(for: compiled)
      // While the old policy, which has no filters for them, lets their frames pass.
      try addPorts(for: compiled)
      try change?.write()
      try await replaceRules(for: compiled.policy)
      try await publish(change)
    } catch {
      change?.discard()
      abandon()
      board.withLock { $0.interfaces = before }
      await retirePorts(for: board.withLock { $0.policy })
      throw error
    }
    commit()
    injections.change(layers: compiled.policy.injectableLayers)
    board.withLock { $0.policy = compiled }
    await retirePorts(for: compiled)
  }

  private func compile(_ policy: FilterPolicy) throws(BridgeError) -> CompiledPolicy {
    do {
      return try CompiledPolicy(policy)
    } catch {
      throw .policy(error)
    }
  }

  private func startAll(_ policy: CompiledPolicy) async throws(BridgeError) {
    guard configuration.queueCount >= 1, configuration.queueCount <= 64,
      Int(configuration.firstQueue) + Int(configuration.queueCount) <= 65536
    else {
      throw .badQueues(first: configuration.firstQueue, count: configuration.queueCount)
    }
    let firewall = try makeFirewall()
    if let firewall { try checkSwitchLayers(of: policy, with: firewall) }
    let field = try await chooseField()
    let epoch = EpochFile(directory: configuration.stateDirectory).flip()
    if let note = epoch.note { warn(note) }
    board.withLock { board in
      board.field = field
      board.epoch = epoch.value
    }
    learnConntrack(policy)
    startObserver(field, epoch.value)
    try startWorkers(policy, field, epoch.value)
    try await startReleasing(for: policy)
    try startResolving(for: policy)
    do throws(BridgeError) {
      try prepare(policy)
    } catch {
      abandon()
      throw error
    }
    // Before the rules: no packet may meet workers that have no policy.
    commit()
    followFlows(for: policy)
    injections.open(
      board.withLock { $0.workers.map(\.mailbox) }, layers: policy.policy.injectableLayers)
    removeAbandonedFilters()
    learnSwitchPorts(for: policy)
    try addPorts(for: policy)
    guard let firewall else {
      try await warnIfNothingComes(policy)
      return try endBootTime()
    }
    do {
      let rules = await ruleSet(
        for: policy.policy, firewall, released(underPolicy: board.withLock { $0.policyNumber }))
      try await firewall.checkUnused(besides: rules.queues)
      for hazard in try await QueueScan.hazards(for: rules, backend: firewall.backend)
      where !hazard.hasPrefix("queue ") { warn(hazard) }
      try await firewall.apply(rules)
      // Not before: what a start that fails finds there is not its own to take down.
      board.withLock { board in
        board.firewall = firewall
        board.rules = rules
      }
    } catch {
      throw .rules(error)
    }
    try endBootTime()
  }

  private func warnIfNothingComes(_ policy: CompiledPolicy) async throws(BridgeError) {
    // Frames come without rules.
    let layers = policy.policy.layers
    if !layers.isEmpty, layers.allSatisfy(\.indicatesDivertedFrames) { return }
    do {
      let uses = try await QueueScan.named(excluding: "")
      let feeds = uses.contains { $0.queues?.overlaps(configuration.queues) ?? true }
      guard !feeds else { return }
      warn(
        "no rule names queue \(configuration.queues.lowerBound) to "
          + "\(configuration.queues.upperBound), so no packet comes: load one of the rule files, "
          + "or let rules.manage be true")
    } catch {
      throw .rules(error)
    }
  }

  private func makeFirewall() throws(BridgeError) -> Firewall? {
    guard case .managed(let wanted) = configuration.rules else { return nil }
    do throws(RuleError) {
      let backend = if let wanted { wanted } else { try RuleBackend.detect() }
      try backend.check()
      try RuleSet.validate(engineTable: configuration.ruleTable)
      return try Firewall(backend: backend, table: configuration.ruleTable)
    } catch {
      throw .rules(error)
    }
  }

  /// Refuses layers whose frames cannot be brought here.
  private func checkSwitchLayers(
    of policy: CompiledPolicy, with firewall: Firewall
  ) throws(BridgeError) {
    guard let layer = policy.policy.layers.first(where: { $0.medium == .virtualSwitch }) else {
      return
    }
    do throws(RuleError) {
      try firewall.backend.checkFrames()
    } catch .noBridgeQueue(let reason) {
      throw .layerNotServed(layer, reason: reason)
    } catch {
      throw .rules(error)
    }
  }

  /// Our bits of the mark, as chosen or as the scan of everybody's rules leaves them.
  private func chooseField() async throws(BridgeError) -> MarkField? {
    if configuration.mark == .off { return nil }
    var uses = try usesOfOthersWhoDivert()
    do {
      uses += try await MarkScan.scan(excluding: configuration.ruleTable)
      for note in try MarkScan.notes() { warn(note) }
    } catch {
      throw .rules(error)
    }
    guard case .mask(let mask) = configuration.mark else {
      guard let free = MarkScan.freeField(in: uses), let field = MarkField(mask: free) else {
        throw .noFreeMark(uses: uses.map(\.description))
      }
      return field
    }
    guard let field = MarkField(mask: mask) else { throw .badMask(mask) }
    let conflicts = MarkScan.conflicts(of: mask, in: uses)
    guard conflicts.isEmpty || configuration.ignoresMarkConflicts else {
      throw .markConflict(mask: mask, uses: conflicts.map(\.description))
    }
    for conflict in conflicts { warn("mark bits shared with \(conflict)") }
    return field
  }

  /// The bits of other processes that divert frames: a policy without rules leaves no other trace.
  private func usesOfOthersWhoDivert() throws(BridgeError) -> [MarkUse] {
    do throws(LinkError) {
      return try HelperDevices.foreignMarks().map { name, mask in
        MarkUse(mask: mask, origin: .divert, rule: "its helper device \(name)")
      }
    } catch {
      switch error {
      case .system(let error): throw .system(error)
      }
    }
  }

  /// Refuses bits that somebody else has begun to use for frames since they were chosen.
  func checkMarkOfOthers(_ mask: UInt32) throws(BridgeError) {
    let conflicts = MarkScan.conflicts(of: mask, in: try usesOfOthersWhoDivert())
    guard conflicts.isEmpty || configuration.ignoresMarkConflicts else {
      throw .markConflict(mask: mask, uses: conflicts.map(\.description))
    }
  }

  /// Has the kernel tell what becomes of packets, where it can; else the verdicts do.
  private func startObserver(_ field: MarkField?, _ epoch: Bool) {
    guard let field, configuration.lifecycle == .automatic else { return }
    do {
      let observer = try KernelObserver(field: field, epoch: epoch)
      // That copies are inferred is told by each of their events.
      for (program, support) in observer.findings where program != .cloned {
        if case .unsupported(let reason, let remedy) = support { warn("\(reason); \(remedy)") }
      }
      board.withLock { $0.observer = observer }
    } catch {
      warn("what becomes of packets is told by verdicts alone: \(error)")
    }
  }

  private func startWorkers(
    _ policy: CompiledPolicy, _ field: MarkField?, _ epoch: Bool
  ) throws(BridgeError) {
    let injector = PacketInjector(field: field, epoch: epoch)
    let peers = WorkerPeers()
    var sources: [EventSource] = []
    for shard in 0..<Int(configuration.queueCount) {
      let ring = EventRing<LifeEvent>(capacity: 1 << 15)
      let clock = EventClock()
      sources.append(EventSource(ring: ring, clock: clock))
      let worker = try makeWorker(
        shard, policy, ring, clock, injector, peers, field, epoch)
      board.withLock { $0.workers.append(worker) }
    }
    do {
      let isObserved = board.withLock { $0.observer } != nil
      try stream.start(sources, delay: isObserved ? ContextTable.longestDelay : 0)
    } catch {
      throw .system(error)
    }
  }

  private func makeWorker(
    _ shard: Int, _ policy: CompiledPolicy, _ ring: EventRing<LifeEvent>, _ clock: EventClock,
    _ injector: PacketInjector, _ peers: WorkerPeers, _ field: MarkField?, _ epoch: Bool
  ) throws(BridgeError) -> Worker {
    let number = configuration.firstQueue + UInt16(shard)
    do {
      let socket = try QueueSocket.open(queueOptions(number, policy))
      let mailbox = try Mailbox(patience: configuration.patience)
      let desk = WorkerDesk(mailbox: mailbox, injector: injector)
      var contexts = ContextTable(
        ContextTable.Options(
          field: field, epoch: epoch, shard: shard, shards: Int(configuration.queueCount),
          maximumHandles: configuration.maximumHandles,
          sweepAfter: configuration.sweepAfter.nanoseconds),
        issuer: issuer, events: ring,
        source: board.withLock { $0.observer })
      contexts.queue = number
      contexts.registeredNotifies = stream.registeredNotifies
      contexts.isWatched = stream.hasSubscribers
      let state = WorkerState(
        shard: shard, queues: configuration.queues, failurePolicy: configuration.failurePolicy,
        desk: desk, socket: socket,
        out: Classification(
          contexts: contexts, desk: desk, pendDeadline: configuration.pendDeadline.nanoseconds),
        pended: PendedPackets(capacity: Int(configuration.maximumLength)),
        policy: try CompiledPolicy(FilterPolicy()), peers: peers)
      peers.append(mailbox)
      return try Worker(
        name: "callout-q\(number)", mailbox: mailbox, clock: clock, stream: stream, state: state)
    } catch let error as QueueError {
      throw .queue(error)
    } catch let error as SystemError {
      throw .system(error)
    } catch {
      throw .wrongState("\(error)")
    }
  }

  func queueOptions(_ number: UInt16, _ policy: CompiledPolicy) -> QueueOptions {
    let mayAskConntrack = !board.withLock { $0.refusesConntrack }
    let wanted = QueueOptions(
      number: number, copyRange: configuration.copyRange ?? policy.neededBytes)
    let captured = board.withLock { UInt32(clamping: $0.capture?.snap ?? 0) }
    return QueueOptions(
      number: number, copyRange: max(wanted.copyRange, captured),
      maximumLength: configuration.maximumLength,
      failOpen: configuration.failurePolicy == .permit,
      includesConntrack: mayAskConntrack && policy.callouts.contains(where: \.readsConntrack),
      includesOwner: policy.readsSocketOwner)
  }

  /// What a divert without TCX leaves at devices when its process is killed.
  private func removeAbandonedFilters() {
    for place in (try? AbandonedFilters.remove()) ?? [] {
      logger.info("removed an abandoned filter", metadata: ["place": "\(place)"])
    }
  }

  func warn(_ warning: String) {
    board.withLock { $0.warnings.append(warning) }
    logger.warning("\(warning)")
  }
}

extension CompiledPolicy {
  /// Whether the policy's filters or callouts ask for the owner of the sending socket.
  var readsSocketOwner: Bool {
    callouts.contains(where: \.readsSocketOwner)
      || policy.filters.contains { filter in
        filter.conditions.contains { $0.field == .userID || $0.field == .groupID }
      }
  }

  /// Bytes of each packet that the policy's filters and callouts read.
  var neededBytes: UInt32 {
    // IPv6 extension headers can stand before the ports.
    let headers: UInt32 = policy.layers.contains { $0.isIPv6 } ? 256 : 128
    return callouts.map(\.neededBytes.count).reduce(headers, max)
  }
}
