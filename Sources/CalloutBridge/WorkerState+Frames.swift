// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import LinkLayer
internal import PacketTagging
internal import PacketViews

// The way of frames: no lock, no allocation, no copy but into and out of the kernel.
extension WorkerState {
  /// Takes what the ports have, decides it and puts it back; returns how many frames came.
  mutating func serveFrames() -> Int {
    guard !ports.isEmpty else { return 0 }
    var count = 0
    // Held once a batch, so that no frame retains them.
    let (policy, callouts) = (policy, heldCallouts)
    for index in heldPorts.indices {
      let port = heldPorts[index]
      port.use { count += serve($0, policy, callouts) }
    }
    return count
  }

  private mutating func serve(
    _ port: FramePort, _ policy: borrowing CompiledPolicy, _ callouts: [HeldObject<Callout>]
  ) -> Int {
    let count = port.divert.receive()
    let traits = port.traits
    if count > 0, batching.isWanted(at: traits) {
      decideTogether(count, port, traits, policy, callouts.span)
    } else {
      for index in 0..<count {
        decide(index, of: &port.divert, traits, &port.bearers[index], policy, callouts.span)
      }
    }
    port.divert.flush { index, _ in port.failed.append(index) }
    for index in port.failed {
      out.contexts.finish(port.bearers[index], .dropped, .exact, layer: traits.layers[1].rawValue)
    }
    port.failed.removeAll(keepingCapacity: true)
    return count
  }

  mutating func decide(
    _ index: Int, of divert: inout FrameDivert, _ traits: FrameTraits, _ bearer: inout UInt32,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>
  ) {
    var outcome = FrameOutcome()
    do {
      let frame = divert.frame(index)
      if let owner = out.contexts.shard(ofHandleIn: frame.metadata.mark),
        isOwnedElsewhere(frame.metadata.mark)
      {
        counters.framesHandedOver &+= 1
        handOver(frame, traits, to: owner)
      } else {
        outcome = decide(frame.bytes, frame.metadata, traits, policy, callouts)
      }
    }
    settle(outcome, index, of: &divert, &bearer)
  }

  /// Whether another worker owns what a frame bears.
  func isOwnedElsewhere(_ mark: UInt32) -> Bool {
    guard let owner = out.contexts.shard(ofHandleIn: mark) else { return false }
    return owner != shard && owner < queues.count
  }

  /// Has the port put back a frame of its batch, or not.
  mutating func settle(
    _ outcome: FrameOutcome, _ index: Int, of divert: inout FrameDivert, _ bearer: inout UInt32
  ) {
    bearer = outcome.handle
    guard outcome.isPermitted else { return divert.drop(index) }
    var length = 0
    if out.rewrittenFrame.isRewritten {
      length = frameDraft.write(out.rewrittenFrame, divert.frame(index).bytes)
    }
    guard length > 0 else { return divert.permit(index, mark: outcome.mark) }
    do throws(FrameReplacementError) {
      try divert.permit(
        index, mark: outcome.mark, replacement: frameDraft.bytes(length),
        offload: outcome.offload)
      counters.framesRewritten &+= 1
    } catch {
      counters.framesUnwritten &+= 1
      out.contexts.finish(outcome.handle, .dropped, .exact, layer: outcome.layer.rawValue)
      divert.drop(index)
    }
  }

  /// Decides one frame at the layers of its port.
  mutating func decide(
    _ bytes: RawSpan, _ kernel: LinkLayer.FrameMetadata, _ traits: FrameTraits,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>
  ) -> FrameOutcome {
    counters.frames &+= 1
    counters.frameBytes &+= UInt64(bytes.byteCount)
    var (layout, metadata) = traits.describe(bytes, kernel)
    out.beginFrame(at: traits)
    let isLooping = meet(bytes, layout, metadata, traits)
    metadata.isInjected = out.contexts.isInjected(out.packet.handle)
    var decision = Decision()
    var last = traits.layers[0]
    if isLooping {
      decision = failingDecision()
    } else {
      let layers = traits.layers
      for position in 0..<layers.count where policy.hasFilters(at: layers[position]) {
        last = layers[position]
        out.packet.layer = last.rawValue
        let frame = ClassifiedFrame(
          bytes: bytes, layout: layout, layer: last, metadata: metadata)
        decision = out.evaluate(frame, policy, callouts, hits: &hits)
        guard case .permit = decision.outcome else { break }
      }
    }
    return carryOut(decision, last, bytes, layout, metadata, traits)
  }

  /// The decision of a frame that has met our layers too often.
  mutating func failingDecision() -> Decision {
    counters.failurePolicyApplied &+= 1
    var decision = Decision()
    decision.outcome = failurePolicy == .permit ? .permit : .block
    return decision
  }

  /// Does what was decided of the current frame at `layer`, but for putting it back.
  mutating func carryOut(
    _ decision: Decision, _ layer: Layer, _ bytes: RawSpan, _ layout: FrameLayout,
    _ metadata: CalloutEngine.FrameMetadata, _ traits: FrameTraits
  ) -> FrameOutcome {
    var outcome = FrameOutcome()
    outcome.layer = layer
    outcome.offload = metadata.offload.shifted(by: out.rewrittenFrame.shift)
    outcome.handle = out.packet.handle
    carryOut(decision, &outcome, bytes, layout, metadata, traits)
    return outcome
  }

  private mutating func carryOut(
    _ decision: Decision, _ outcome: inout FrameOutcome, _ bytes: RawSpan, _ layout: FrameLayout,
    _ metadata: CalloutEngine.FrameMetadata, _ traits: FrameTraits
  ) {
    switch decision.outcome {
    case .permit:
      counters.framesPermitted &+= 1
      permit(&outcome, layout, metadata, traits)
    case .hold(let until, let permits):
      hold(outcome, bytes, layout, metadata, traits, until: until, permits: permits)
    case .absorb:
      counters.framesAbsorbed &+= 1
      out.contexts.finish(outcome.handle, .blocked, .exact, layer: outcome.layer.rawValue)
    case .block, .repeat, .requeue, .pend:
      tellDrop(decision, bytes, metadata, at: outcome.layer, id: 0)
      counters.framesBlocked &+= 1
      out.contexts.finish(outcome.handle, .blocked, .exact, layer: outcome.layer.rawValue)
    }
  }

  /// Lets a frame go, with what it bears.
  mutating func permit(
    _ outcome: inout FrameOutcome, _ layout: FrameLayout,
    _ metadata: CalloutEngine.FrameMetadata, _ traits: FrameTraits
  ) {
    outcome.isPermitted = true
    if outcome.handle != 0 { letGo(&outcome, layout, traits) }
    outcome.mark = out.contexts.mark(metadata.mark, bearing: outcome.handle)
  }

  private mutating func letGo(
    _ outcome: inout FrameOutcome, _ layout: FrameLayout, _ traits: FrameTraits
  ) {
    let layer = outcome.layer.rawValue
    guard traits.direction == .inbound else {
      if traits.isBridge, bridges.egress {
        out.contexts.depart(outcome.handle, .anywhere)
      } else if out.contexts.isObserved {
        out.contexts.leave(outcome.handle, .end, isInbound: false, .exact, layer: layer)
      } else if !out.contexts.release(outcome.handle, layer: layer) {
        outcome.handle = 0
      }
      return
    }
    if traits.isPort, bridges.areMet { return out.contexts.depart(outcome.handle, .anywhere) }
    switch layout.etherType {
    case .ipv4, .ipv6:
      let ours = layout.etherType == .ipv4 ? hooks.ipv4 : hooks.ipv6
      if !ours.isEmpty {
        out.contexts.depart(outcome.handle, .anywhere)
      } else if out.contexts.isObserved, out.contexts.observesDelivery {
        out.contexts.leave(outcome.handle, .prerouting, isInbound: false, .exact, layer: layer)
      } else if !out.contexts.release(outcome.handle, layer: layer) {
        outcome.handle = 0
      }
    default:
      // It never enters the IP stack: what it bears stays until somebody removes it.
      out.contexts.depart(outcome.handle, .anywhere)
      if out.contexts.contextCount(on: out.packet, under: nil) > 0 {
        out.contexts.keep(outcome.handle)
      }
    }
  }

  /// Finds what a diverted frame bears; true if it has met our layers too often.
  mutating func meet(
    _ bytes: RawSpan, _ layout: FrameLayout, _ metadata: CalloutEngine.FrameMetadata,
    _ traits: FrameTraits
  ) -> Bool {
    lastFrame &+= 1
    let isLooping = meet(
      bytes, layout, id: lastFrame, mark: metadata.mark, at: traits.place, traits.layers[0])
    out.packet.isInjectedByOther = metadata.isInjectedByOther
    return isLooping
  }

  /// Finds what a frame bears; true if it has met our layers too often.
  mutating func meet(
    _ bytes: RawSpan, _ layout: FrameLayout, id: UInt32, mark: UInt32, at place: HookSet,
    _ layer: Layer
  ) -> Bool {
    out.packet = TaggedPacket()
    out.packet.id = id
    out.packet.layer = layer.rawValue
    let isFragment = FrameTraits.identify(bytes, layout, &out.packet)
    var arrival = Arrival(
      mark: mark, id: id, place: place, layer: layer.rawValue,
      fingerprint: out.packet.fingerprint, isBridged: true)
    arrival.digest = out.packet.digest
    arrival.isFragment = isFragment
    return bear(arrival)
  }
}

/// What was decided of a frame.
struct FrameOutcome {
  var isPermitted = false
  var mark: UInt32 = 0
  var handle: UInt32 = 0
  var layer = Layer.inboundMACFrameNative
  var offload = FrameOffload()
}

/// Where frames with new headers are put together.
struct FrameDraft: ~Copyable {
  private var storage = [UInt8](repeating: 0, count: 70_000)

  /// Puts a new header before the rest of a frame; the whole length, or 0 if it does not fit.
  mutating func write(_ header: RewrittenFrame, _ frame: RawSpan) -> Int {
    let rest = frame.slice(from: header.replacedLength)
    var span = storage.mutableSpan
    var target = span.mutablePacketBytes
    guard header.write(to: &target, at: 0), target.copyBytes(rest, to: header.headerLength) else {
      return 0
    }
    return header.headerLength + rest.byteCount
  }

  @_lifetime(borrow self)
  func bytes(_ length: Int) -> RawSpan {
    storage.span.packetBytes.slice(from: 0, length: length)
  }
}

extension Classification {
  /// Forgets the last frame's decision and header.
  mutating func beginFrame(at traits: FrameTraits) {
    place = traits.injectionPlace
    answer = .none
    rewrittenFrame.reset()
  }
}
