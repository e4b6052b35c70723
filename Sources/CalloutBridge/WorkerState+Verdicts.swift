// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews

extension Decision {
  /// Stands for a packet that no filter may decide.
  static var failing: Decision {
    var decision = Decision()
    decision.outcome = .hold(until: 0, permits: false)
    return decision
  }

  var isFailing: Bool {
    if case .hold(until: 0, permits: _) = outcome { return true }
    return false
  }
}

/// How a packet that waits is carried out: what its verdict needs to know of it.
struct Departing {
  var packet: TaggedPacket
  var mark: UInt32
  var hook: Hook
  var isIPv6: Bool
  var towardsLoopback: Bool
  /// A packet that leaves by a bridge, whose ports it comes to.
  var towardsBridge = false
  /// What is known of a bridged frame; nil for packets.
  var frame: BridgedFrame?
  /// Whether the kernel surely still has it.
  var certainty = Certainty.exact
}

extension WorkerState {
  /// The longest run of repeats of one packet at one hook.
  static let maximumRepeats: UInt8 = 4

  /// Gives the packet the verdict that was decided at `layer`, with its mark and new contents.
  mutating func settle(
    _ unsettled: consuming UnsettledPacket, _ decision: Decision,
    _ packet: borrowing ClassifiedPacket, at layer: Layer
  ) {
    switch decision.outcome {
    case .pend(let deadline):
      pend(
        unsettled, depart(packet), packet, at: layer, decision.callout, deadline, .failurePolicy)
    case .hold where decision.isFailing:
      fail(unsettled, depart(packet), .blocked)
    case .hold(let until, let permits):
      pend(unsettled, depart(packet), packet, at: layer, -1, until, permits ? .permit : .block)
    case .block:
      tellDrop(decision, packet, at: layer)
      carryOut(.block, unsettled, depart(packet))
    default:
      carryOut(decision.outcome, unsettled, depart(packet))
    }
  }

  /// What the verdict of the current packet needs to know; made where it is used, so that on the way of
  /// most packets it never lies in memory.
  @inline(__always)
  private func depart(_ packet: borrowing ClassifiedPacket) -> Departing {
    Departing(
      packet: out.packet, mark: packet.metadata.mark, hook: packet.hook,
      isIPv6: packet.layout.version == .v6, towardsLoopback: packet.metadata.outputDevice == 1,
      towardsBridge: bridges.egress && switchPorts.isBridge(packet.metadata.outputDevice))
  }

  /// Gives a packet or frame that does not wait its verdict.
  ///
  /// Inlined, with what it calls, so that a packet's departure need not be laid out in memory.
  @inline(__always)
  mutating func carryOut(
    _ outcome: Decision.Outcome, _ unsettled: consuming UnsettledPacket, _ departing: Departing
  ) {
    switch outcome {
    case .permit, .pend, .hold:
      counters.permitted &+= 1
      permit(unsettled, departing)
    case .block:
      counters.blocked &+= 1
      drop(unsettled, departing, .blocked)
    case .absorb:
      counters.absorbed &+= 1
      drop(unsettled, departing, .blocked)
    case .repeat:
      sendRound(unsettled, departing)
    case .requeue(let queue):
      counters.requeued &+= 1
      out.contexts.depart(departing.packet.handle, .anywhere)
      settle(
        unsettled, .requeue(queue, bypass: failurePolicy == .permit),
        bearing: departing.packet.handle, departing)
    }
  }

  /// Lets the packet go.
  ///
  /// Where another hook of ours can meet it, its contexts live on; where none can, they end and our
  /// field leaves the mark.
  @inline(__always)
  mutating func permit(_ unsettled: consuming UnsettledPacket, _ departing: Departing) {
    if let frame = departing.frame {
      let handle = letGo(frame, bearing: departing.packet.handle, departing.certainty)
      return settle(unsettled, .accept, bearing: handle, departing)
    }
    var handle = departing.packet.handle
    var departure = Departure(from: departing.hook, towardsLoopback: departing.towardsLoopback)
    let ours = departing.isIPv6 ? hooks.ipv6 : hooks.ipv4
    if departing.towardsBridge,
      departure == .postrouting || departure == .output && !ours.contains(HookSet(.postrouting))
    {
      departure = .anywhere
    }
    if handle != 0 {
      let isInbound = departing.hook == .input
      let isFollowed =
        out.contexts.isObserved
        && (out.contexts.observesDelivery || !isInbound && departing.hook != .prerouting)
      if departure == .anywhere || !departure.followers.intersection(ours).isEmpty {
        if out.rewritten.length > 0 { noteRewrittenFlow(handle) }
        out.contexts.depart(handle, departure, isInbound: isInbound)
      } else if isFollowed {
        out.contexts.leave(
          handle, departure, isInbound: isInbound, departing.certainty,
          layer: departing.packet.layer)
      } else {
        out.contexts.finish(
          handle, .released, departing.certainty, layer: departing.packet.layer, exits: true)
        handle = 0
      }
    }
    settle(unsettled, .accept, bearing: handle, departing)
  }

  mutating func drop(
    _ unsettled: consuming UnsettledPacket, _ departing: Departing, _ reason: RemovalReason
  ) {
    if let frame = departing.frame { complete(frame, departing.packet.handle) }
    out.contexts.finish(
      departing.packet.handle, reason, departing.certainty, layer: departing.packet.layer)
    unsettled.settle(.drop, mergeable: pended.count == 0)
  }

  /// Applies the failure policy to a packet that has been met.
  @inline(never)
  mutating func fail(
    _ unsettled: consuming UnsettledPacket, _ departing: Departing, _ reason: RemovalReason
  ) {
    counters.failurePolicyApplied &+= 1
    switch failurePolicy {
    case .permit: permit(unsettled, departing)
    case .block: drop(unsettled, departing, reason)
    }
  }

  @inline(never)
  private mutating func sendRound(_ unsettled: consuming UnsettledPacket, _ departing: Departing) {
    var departing = departing
    guard
      out.contexts.countRepeat(
        &departing.packet, at: departing.hook, limit: Self.maximumRepeats)
    else { return fail(unsettled, departing, .blocked) }
    counters.repeated &+= 1
    out.contexts.depart(departing.packet.handle, .anywhere)
    settle(unsettled, .repeat, bearing: departing.packet.handle, departing)
  }

  @inline(__always)
  private mutating func settle(
    _ unsettled: consuming UnsettledPacket, _ verdict: Verdict, bearing handle: UInt32,
    _ departing: Departing
  ) {
    let mark = out.contexts.mark(departing.mark, bearing: handle)
    let newMark = mark == departing.mark ? nil : mark
    if out.rewritten.length > 0 {
      counters.rewritten &+= 1
      unsettled.settle(verdict, mark: newMark, payload: out.rewritten.contents)
    } else if let header = departing.frame?.header {
      counters.rewritten &+= 1
      unsettled.settle(verdict, mark: newMark, header: header)
    } else {
      unsettled.settle(verdict, mark: newMark, mergeable: pended.count == 0)
    }
  }

  private mutating func noteRewrittenFlow(_ handle: UInt32) {
    guard let layout = try? PacketLayout(parsing: out.rewritten.contents.packetBytes) else {
      return
    }
    out.contexts.changeFingerprint(handle, to: layout.flowFingerprint.rawValue)
  }
}
