// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews

// The packet path: no lock, no allocation, one copy (the kernel's, into the receive buffer).
extension WorkerState {
  /// No more is received when the verdicts of what came before have waited for so long, in nanoseconds.
  private static let longestBatch: UInt64 = 2_000_000

  /// Takes what the kernel has, decides it and sends the verdicts.
  ///
  /// Returns how many messages came.
  mutating func serveBatch(_ received: inout ReceiveBuffer) -> Int {
    // Held once a batch, so that no packet retains them.
    let (policy, callouts) = (policy, heldCallouts)
    var total = 0
    repeat {
      let count = socket.receive(into: &received)
      serve(count, &received, policy, callouts.span)
      total += count
      if count < received.slots || desk.mailbox.hasCommands { break }
    } while total < socket.options.batchSize && MonotonicClock.now() &- now < Self.longestBatch
    socket.verdicts.flush()
    return total
  }

  private mutating func serve(
    _ count: Int, _ received: inout ReceiveBuffer, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>
  ) {
    var indication = Indication()
    for index in 0..<count {
      var (offset, start) = (0, 0)
      repeat {
        guard
          let kind = QueueMessage.next(
            in: received.datagram(index), at: &offset, into: &indication)
        else { break }
        switch kind {
        case .packet where indication.isBridged:
          serveFrame(&indication, &received, index, policy, callouts)
        case .packet:
          indication.metadata.isInjected = out.isInjected(indication.metadata.mark)
          serve(&indication, received.datagram(index), policy, callouts)
          if out.followsFlows { leaveFlow() }
        case .refused(let errno, let packetID):
          let count =
            packetID == nil
            ? 1 : QueueMessage.packetCount(ofRefusalAt: start, in: received.datagram(index))
          noteRefusal(errno, packetID, count)
        case .malformed(let packetID):
          noteMalformed(packetID)
        case .other:
          break
        }
        start = offset
      } while offset < received.datagram(index).byteCount
    }
  }

  /// A message that cannot be read; if it names its packet, that is not left waiting.
  private mutating func noteMalformed(_ packetID: UInt32?) {
    counters.malformedMessages &+= 1
    guard let packetID else { return }
    noteID(packetID)
    counters.packets &+= 1
    settleFailing(UnsettledPacket(packetID, verdicts: socket.verdicts, failure: failureVerdict))
  }

  /// `indication` is inout because a borrowed struct of its size would be copied.
  private mutating func serve(
    _ indication: inout Indication, _ datagram: RawSpan, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>
  ) {
    let unsettled = UnsettledPacket(
      indication.id, verdicts: socket.verdicts, failure: failureVerdict)
    noteID(indication.id)
    counters.packets &+= 1
    counters.bytes &+= UInt64(indication.metadata.originalLength)
    let bytes = datagram.slice(
      from: indication.payloadOffset, length: indication.payloadLength)
    guard let hook = Hook(rawValue: indication.hook),
      let layout = try? PacketLayout(parsing: bytes)
    else {
      counters.malformed &+= 1
      return settleFailing(unsettled)
    }
    if out.contexts.isMarked(indication.metadata.mark),
      let owner = out.contexts.shard(ofHandleIn: indication.metadata.mark), owner != shard,
      owner < queues.count
    {
      // Another worker owns the contexts: the kernel hands the packet over, so nobody needs a lock.
      counters.handedOver &+= 1
      return unsettled.settle(.requeue(queues.lowerBound + UInt16(owner), bypass: false))
    }
    let isIPv6 = layout.version == .v6
    var traits = PacketTraits(layout)
    let layer = Layer(hook: hook, isIPv6: isIPv6, traits)
    out.beginPacket()
    if describesDevices { deviceKinds.describe(&indication.metadata) }
    let isLooping = meet(&indication, bytes, layout, hook, layer)
    if out.packet.handle != 0, out.contexts.isInjected(out.packet.handle) {
      indication.metadata.isInjected = true
    }
    let packet = ClassifiedPacket(
      bytes: bytes, layout: layout, layer: layer, metadata: indication.metadata, hook: hook)
    if isLooping { return settle(unsettled, .failing, packet, at: layer) }
    if out.followsFlows {
      traits.formUnion(meetFlow(layout, hook, packet.metadata))
      if flowUse.isAborted { return settle(unsettled, .aborted, packet, at: layer) }
      if traits.contains(.firstOfFlow), policy.asksForProcess(hook, isIPv6: isIPv6),
        policy.asksForProcess(of: packet, isReauthorization: out.isReauthorization)
      {
        switch findProcess(packet) {
        case .begun:
          _ = unsettled.keepWaiting()
          return
        case .refused where failurePolicy == .block:
          return settle(unsettled, .failing, packet, at: layer)
        case .refused, .impossible: break
        }
      }
    }
    judge(unsettled, packet, traits, policy, callouts)
  }

  /// Has filters and callouts decide a packet that has been met.
  @inline(__always)
  mutating func judge(
    _ unsettled: consuming UnsettledPacket, _ packet: borrowing ClassifiedPacket,
    _ traits: PacketTraits, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>
  ) {
    let handle = out.packet.handle
    let decision: Decision
    let decider: Layer
    if policy.severalLayers.contains(packet.hook.rawValue, isIPv6: packet.layout.version == .v6) {
      (decision, decider) = evaluate(packet, traits, policy, callouts)
    } else {
      (decision, decider) = (out.evaluate(packet, policy, callouts, hits: &hits), packet.layer)
    }
    if tap != nil, handle == 0, out.packet.handle != 0 { copyForCapture(packet) }
    if policy.hasDiscards { follow(packet, decision, at: decider, policy, callouts) }
    settle(unsettled, decision, packet, at: decider)
  }

  /// Asks each layer that the packet meets at its hook, in their order; the second value is the layer
  /// that decided.
  private mutating func evaluate(
    _ packet: borrowing ClassifiedPacket, _ traits: PacketTraits,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>
  ) -> (Decision, Layer) {
    var decision = Decision()
    var decider = packet.layer
    for position in policy.walk(packet.hook, isIPv6: packet.layer.isIPv6) {
      let step = policy.step(position)
      guard step.isMet(by: traits) else { continue }
      out.packet.layer = step.layer.rawValue
      let isReauthorization = out.isReauthorization && step.layer.isFlowAuthorization
      let next = out.evaluate(
        packet.met(at: step.layer, isReauthorization: isReauthorization), policy, callouts,
        hits: &hits)
      if traits.contains(.firstOfFlow), step.layer.isFlowAuthorization {
        noteAuthorization(next, packet.hook)
      }
      if decision.follow(next) { decider = step.layer }
      if decision.endsPacket { break }
    }
    out.packet.layer = decider.rawValue
    return (decision, decider)
  }

  /// Finds what the packet bears; true if it has met our hooks too often.
  private mutating func meet(
    _ indication: inout Indication, _ bytes: RawSpan, _ layout: PacketLayout, _ hook: Hook,
    _ layer: Layer
  ) -> Bool {
    // A fragment's flow cannot be compared with its whole packet's.
    let fingerprint = layout.isFragment ? 0 : layout.flowFingerprint.rawValue
    out.packet.id = indication.id
    out.packet.fragmentKey = layout.isFragment ? layout.fragmentKey : 0
    out.packet.isDatagram = layout.transportProtocol == .udp
    out.packet.fingerprint = fingerprint
    out.packet.digest = layout.digest(in: bytes)
    out.packet.layer = layer.rawValue
    out.packet.handle = 0
    guard out.contexts.isMarked(indication.metadata.mark) else { return false }
    var arrival = Arrival(
      mark: indication.metadata.mark, id: indication.id, place: HookSet(hook),
      layer: layer.rawValue, fingerprint: fingerprint,
      isBridged: indication.metadata.physicalInputDevice
        | indication.metadata.physicalOutputDevice != 0)
    arrival.digest = out.packet.digest
    arrival.isFragment = layout.isFragment
    return bear(arrival)
  }

  /// Has the current packet bear what it arrived with; true if it has met our layers too often.
  mutating func bear(_ arrival: Arrival) -> Bool {
    switch out.contexts.meet(arrival) {
    case .untagged: return false
    case .bearer(let handle):
      out.packet.handle = handle
      return false
    case .looping(let handle):
      out.packet.handle = handle
      return true
    }
  }

  /// Ids are issued in a row; a missing one was lost between kernel and socket.
  mutating func noteID(_ id: UInt32) {
    if let lastID {
      let step = id &- lastID
      if step > 1, step < 1 << 31 { counters.idGaps &+= UInt64(step &- 1) }
    } else {
      counters.idGaps &+= UInt64(id &- 1)
    }
    lastID = id
  }

  private mutating func noteRefusal(_ errno: Int32, _ packetID: UInt32?, _ packets: UInt64) {
    counters.refusals[errno, default: 0] &+= packets
    guard packetID != nil else { return }
    counters.verdictErrors &+= packets
    // ENOENT: the kernel had emptied the queue before the verdict came.
    if errno == 2 { counters.flushed &+= packets }
  }

  /// The verdict of a packet that cannot be classified.
  mutating func settleFailing(_ unsettled: consuming UnsettledPacket) {
    counters.failurePolicyApplied &+= 1
    unsettled.settle(failureVerdict)
  }
}

extension Classification {
  /// Forgets the last packet's decision and contents.
  mutating func beginPacket() {
    place = 0
    answer = .none
    rewritten.reset()
  }

  func isInjected(_ mark: UInt32) -> Bool {
    mark & (contexts.options.field?.injectedBit ?? 0) != 0
  }
}
