// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import LinkLayer
internal import PacketTagging
internal import PacketViews

/// A frame that was taken out of its port's ring and goes on by injection.
struct HeldFrame: Sendable {
  var bytes: [UInt8]
  var layout: FrameLayout
  var metadata: CalloutEngine.FrameMetadata
  var traits: FrameTraits
  var outcome: FrameOutcome
  var permits: Bool
}

// Frames that cannot be decided in their ring. Off the way of frames: here memory may be allocated.
extension WorkerState {
  /// Keeps a copy of a frame until its time comes; where there is no room the failure policy decides.
  mutating func hold(
    _ outcome: FrameOutcome, _ bytes: RawSpan, _ layout: FrameLayout,
    _ metadata: CalloutEngine.FrameMetadata, _ traits: FrameTraits, until: UInt64, permits: Bool
  ) {
    let copy = out.rewrittenFrame.contents(of: bytes.copied())
    var held = HeldFrame(
      bytes: copy, layout: layout, metadata: metadata, traits: traits, outcome: outcome,
      permits: permits)
    if phase == .running, heldFrames.add(held, length: copy.count, due: until) {
      counters.framesHeld &+= 1
      return
    }
    counters.failurePolicyApplied &+= 1
    held.permits = failurePolicy == .permit
    release(held)
  }

  /// Decides the frames whose time has come; all of them at the engine's end.
  mutating func releaseFrames(all: Bool = false) {
    while let frame = heldFrames.popFirst(at: now, always: all) { release(frame) }
  }

  /// Gives a frame to the worker that owns what it bears.
  mutating func handOver(_ frame: borrowing DivertedFrame, _ traits: FrameTraits, to owner: Int) {
    let (bytes, metadata) = (frame.bytes.copied(), frame.metadata)
    let isTaken = peers.post(to: owner) { state in
      state.decideHandedOver(bytes, metadata, traits)
    }
    if !isTaken { counters.framesBlocked &+= 1 }
  }

  private mutating func decideHandedOver(
    _ bytes: [UInt8], _ metadata: LinkLayer.FrameMetadata, _ traits: FrameTraits
  ) {
    let (policy, callouts) = (policy, heldCallouts)
    let span = bytes.span.packetBytes
    let outcome = decide(span, metadata, traits, policy, callouts.span)
    guard outcome.isPermitted else { return }
    inject(
      out.rewrittenFrame.contents(of: bytes), metadata.priority, metadata.trail, outcome, traits)
  }

  private mutating func release(_ held: HeldFrame) {
    var outcome = held.outcome
    guard held.permits else {
      counters.framesBlocked &+= 1
      out.contexts.finish(outcome.handle, .blocked, .exact, layer: outcome.layer.rawValue)
      return
    }
    counters.framesPermitted &+= 1
    permit(&outcome, held.layout, held.metadata, held.traits)
    inject(
      held.bytes, held.metadata.priority, FrameTrail(rawValue: held.metadata.trail), outcome,
      held.traits)
  }

  private mutating func inject(
    _ bytes: [UInt8], _ priority: UInt32, _ trail: FrameTrail, _ outcome: FrameOutcome,
    _ traits: FrameTraits
  ) {
    let result = traits.injector.inject(
      bytes.span.packetBytes, mark: outcome.mark, priority: priority, offload: outcome.offload,
      trail: trail)
    guard result != .sent else { return }
    counters.framesUnsent &+= 1
    out.contexts.finish(outcome.handle, .dropped, .exact, layer: outcome.layer.rawValue)
  }
}

extension RawSpan {
  /// The bytes as an array of their own.
  func copied() -> [UInt8] {
    var copy = [UInt8](repeating: 0, count: byteCount)
    var span = copy.mutableSpan
    var target = span.mutablePacketBytes
    target.copyBytes(self, to: 0)
    return copy
  }
}
