// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews

// Frames that cross bridges come by the queue, as packets do, and get verdicts as these.
extension WorkerState {
  /// `indication` is inout because a borrowed struct of its size would be copied.
  mutating func serveFrame(
    _ indication: inout Indication, _ received: inout ReceiveBuffer, _ index: Int,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>
  ) {
    let unsettled = UnsettledPacket(
      indication.id, verdicts: socket.verdicts, failure: failureVerdict)
    noteID(indication.id)
    counters.packets &+= 1
    counters.bridgedFrames &+= 1
    counters.bytes &+= UInt64(indication.metadata.originalLength)
    guard let layer = indication.bridgeLayer, let place = received.joinFrame(index, indication)
    else {
      counters.malformed &+= 1
      return settleFailing(unsettled)
    }
    if isOwnedElsewhere(indication.metadata.mark),
      let owner = out.contexts.shard(ofHandleIn: indication.metadata.mark)
    {
      counters.handedOver &+= 1
      return unsettled.settle(.requeue(queues.lowerBound + UInt16(owner), bypass: false))
    }
    let bytes = received.datagram(index).slice(from: place.offset, length: place.length)
    let layout = FrameLayout(parsing: bytes)
    var metadata = indication.frameMetadata(length: place.length)
    switchPorts.describe(&metadata)
    out.beginPacket()
    out.rewrittenFrame.reset()
    let copies = out.contexts.counters.copies
    let isLooping = meet(
      bytes, layout, id: indication.id, mark: indication.metadata.mark,
      at: layer == .ingressVSwitchEthernet ? .receivedFrames : .bridgedFrames, layer)
    metadata.isFurtherCopy = out.contexts.counters.copies != copies
    metadata.isInjected = out.contexts.isInjected(out.packet.handle)
    let frame = ClassifiedFrame(bytes: bytes, layout: layout, layer: layer, metadata: metadata)
    let decision = isLooping ? .failing : out.evaluate(frame, policy, callouts, hits: &hits)
    settle(unsettled, decision, frame, indication)
  }

  /// Gives the frame the verdict that was decided, with its mark and new header.
  private mutating func settle(
    _ unsettled: consuming UnsettledPacket, _ decision: Decision,
    _ frame: borrowing ClassifiedFrame, _ indication: borrowing Indication
  ) {
    var bridged = BridgedFrame(layer: frame.layer, etherType: frame.layout.etherType)
    if let (link, tag) = out.rewrittenFrame.bridgedHeader(of: frame) {
      bridged.header = BridgedHeader(link: link, tag: tag)
    }
    var departing = Departing(
      packet: out.packet, mark: frame.metadata.mark,
      hook: frame.layer == .ingressVSwitchEthernet ? .prerouting : .forward, isIPv6: false,
      towardsLoopback: false, frame: bridged)
    if decision.isFailing { return fail(unsettled, departing, .blocked) }
    if bridged.header != nil, indication.linkHeaderLength != BridgedHeader.length {
      // The kernel would take it off the queue and lose it.
      counters.framesUnwritten &+= 1
      departing.frame?.header = nil
      return drop(unsettled, departing, .blocked)
    }
    switch decision.outcome {
    case .pend(let deadline):
      pend(unsettled, departing, frame, indication, decision.callout, deadline, .failurePolicy)
    case .hold(let until, let permits):
      pend(unsettled, departing, frame, indication, -1, until, permits ? .permit : .block)
    case .block:
      tellDrop(decision, frame.bytes, frame.metadata, at: frame.layer, id: indication.id)
      carryOut(.block, unsettled, departing)
    default:
      carryOut(decision.outcome, unsettled, departing)
    }
  }

  /// Tells that the layer is done with a frame.
  mutating func complete(_ frame: BridgedFrame, _ handle: UInt32) {
    guard handle != 0 else { return }
    out.contexts.complete(handle, frame.completion, layer: frame.layer.rawValue)
  }

  /// Notes that a frame goes on; gives the handle that it is to bear then.
  mutating func letGo(
    _ frame: BridgedFrame, bearing handle: UInt32, _ certainty: Certainty
  ) -> UInt32 {
    guard handle != 0 else { return 0 }
    let isIngress = frame.layer == .ingressVSwitchEthernet
    complete(frame, handle)
    // Without a context or an injection it stands for nothing more.
    if isIngress ? mayBeMetInside(frame.etherType) : bridges.sentFrames {
      out.contexts.depart(handle, isIngress ? .anywhere : .output)
    } else if out.contexts.isObserved, out.contexts.observesDelivery || !isIngress {
      out.contexts.leave(
        handle, isIngress ? .prerouting : .output, isInbound: false, certainty,
        layer: frame.layer.rawValue)
    } else if !out.contexts.release(handle, layer: frame.layer.rawValue) {
      return 0
    }
    return handle
  }

  /// Whether a frame that has entered a bridge can come to another place of ours.
  private func mayBeMetInside(_ type: EtherType) -> Bool {
    if bridges.egress || bridges.sentFrames || bridges.receivedFrames { return true }
    switch type {
    case .ipv4: return !hooks.ipv4.isEmpty
    case .ipv6: return !hooks.ipv6.isEmpty
    default: return false
    }
  }

  private mutating func pend(
    _ unsettled: consuming UnsettledPacket, _ departing: Departing,
    _ frame: borrowing ClassifiedFrame, _ indication: borrowing Indication, _ callout: Int32,
    _ deadline: UInt64, _ timeout: PendedEntry.Timeout
  ) {
    guard let ticket = keep(departing, indication.metadata, deadline, timeout) else {
      return fail(unsettled, departing, .expired)
    }
    _ = unsettled.keepWaiting()
    let number = Int(callout)
    guard number >= 0, number < callouts.count else { return }
    callouts[number].pended(
      PendedFrame(
        bytes: frame.bytes.copied(), layout: frame.layout, layer: frame.layer,
        metadata: frame.metadata, ticket: ticket, desk: desk))
  }
}
