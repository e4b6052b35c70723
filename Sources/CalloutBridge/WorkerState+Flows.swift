// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import ConnectionTracking
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews

/// What a worker knows of its policy's use of flows.
struct FlowUse {
  /// The flows of one worker that are followed at once.
  static let capacity = 1 << 16

  /// The number of the policy in force; an authorization holds under one of them.
  var generation: UInt32 = 0
  /// The packet that is decided asks for its flow, and a callout keeps it waiting.
  var isAuthorizing = false
  /// A callout has ended the flow of the packet that is decided.
  var isAborted = false
  /// Which callouts can be asked about a flow, and who tells the kernel of those that none wants.
  var reach = FlowReach()
  var releaser: FlowReleaser?
  /// Who finds the processes of flows, how long that is waited for, and the packets that wait, by flow.
  var resolver: ProcessResolver?
  var patience: UInt64 = 0
  var awaited: [UInt64: [UInt64]] = [:]
}

extension Decision {
  /// Stands for a packet of a flow that a callout has ended.
  static var aborted: Decision {
    var decision = Decision()
    decision.outcome = .block
    return decision
  }
}

// The flows of packets: no lock, no allocation but for callouts that are told of an end.
extension WorkerState {
  /// Finds the packet's flow, and whether it asks to be let through.
  mutating func meetFlow(
    _ layout: PacketLayout, _ hook: Hook, _ metadata: PacketMetadata
  ) -> PacketTraits {
    out.isReauthorization = false
    flowUse.isAuthorizing = false
    flowUse.isAborted = false
    let isLocal = hook == .input || hook == .output
    guard let key = FlowKey(layout) else {
      out.flow = -1
      return isLocal && !layout.isICMPError ? .firstOfFlow : []
    }
    var place = out.flows.meet(key, at: now)
    out.flow = place
    guard place >= 0 else { return isLocal ? .firstOfFlow : [] }
    let isForward = key.isForward(layout)
    // Read once: each look through the table's subscript copies the entry.
    var flow = out.flows[place]
    if !out.flows.hasBegun, Self.beginsAnew(flow, layout, isForward) {
      endFlow(place)
      place = out.flows.meet(key, at: now)
      out.flow = place
      guard place >= 0 else { return isLocal ? .firstOfFlow : [] }
      out.flows[place].formerConnection = flow.connection
      flow = out.flows[place]
    }
    if layout.transportProtocol == .tcp, !layout.tcpFlags.isDisjoint(with: [.fin, .rst]) {
      let ends: UInt8 = layout.tcpFlags.contains(.rst) ? 3 : isForward ? 1 : 2
      out.flows[place].closing |= ends
    }
    flowUse.isAborted = flow.isAborted
    if out.flows.hasBegun {
      out.flows[place].isForward = isForward
      out.flows[place].device =
        metadata.outputDevice == 0 ? metadata.inputDevice : metadata.outputDevice
    } else if isForward != flow.isForward {
      if !flow.isAnswered { out.flows[place].isAnswered = true }
      return []
    }
    guard isLocal else { return [] }
    if flow.opener == .unknown {
      out.flows[place].opener = hook == .input ? .remote : .local
      if let user = metadata.userID { out.flows[place].userID = user }
      if let group = metadata.groupID { out.flows[place].groupID = group }
    }
    return askToPass(flow, hook)
  }

  /// Whether a flow asks to be let through at a hook.
  private mutating func askToPass(_ flow: FlowEntry, _ hook: Hook) -> PacketTraits {
    let authorization =
      hook == .input ? flow.acceptAuthorization : flow.connectAuthorization
    if authorization == flowUse.generation { return [] }
    out.isReauthorization = authorization != 0
    return .firstOfFlow
  }

  /// Finds the flow of a packet that has waited, and whether it still asks to be let through.
  mutating func meetAgain(_ flow: FlowReference, _ hook: Hook) -> PacketTraits {
    out.isReauthorization = false
    flowUse.isAuthorizing = false
    out.flow = out.flows.find(flow)
    flowUse.isAborted = out.flow >= 0 && out.flows[out.flow].isAborted
    return out.flow < 0 ? .firstOfFlow : askToPass(out.flows[out.flow], hook)
  }

  /// Whether a packet of a known flow is the first of another with the same ends: TCP's ports are used
  /// again before the kernel has told that the old connection has gone.
  ///
  /// A SYN alone proves nothing: whoever knows the ends can send one into a connection that lives.
  private static func beginsAnew(
    _ flow: FlowEntry, _ layout: PacketLayout, _ isForward: Bool
  ) -> Bool {
    guard layout.transportProtocol == .tcp, layout.tcpFlags.contains(.syn),
      !layout.tcpFlags.contains(.ack)
    else { return false }
    let isOver = flow.closing == 3 || flow.closing != 0 && !flow.isAnswered
    return flow.isAborted || isOver
  }

  /// Takes in what an authorization layer said.
  mutating func noteAuthorization(_ decision: Decision, _ hook: Hook) {
    guard out.flow >= 0 else { return }
    switch decision.outcome {
    case .permit: authorize(out.flow, at: hook, under: flowUse.generation)
    case .pend, .hold: flowUse.isAuthorizing = true
    case .block, .absorb, .repeat, .requeue: break
    }
  }

  /// Lets a flow's packets pass the authorization layers from now on.
  mutating func authorize(_ place: Int32, at hook: Hook, under generation: UInt32) {
    guard place >= 0, generation != 0 else { return }
    if hook == .input {
      out.flows[place].acceptAuthorization = generation
    } else {
      out.flows[place].connectAuthorization = generation
    }
  }

  /// What is to be done when a packet has been decided.
  mutating func leaveFlow() {
    if out.hasReleased {
      handOver(out.flow)
      out.hasReleased = false
    }
    out.flow = -1
    out.isReauthorization = false
    flowUse.isAuthorizing = false
    if !out.flows.deletions.isEmpty { tellDeletions() }
  }

  /// Has the kernel let a flow's packets pass unseen if no callout wants them any more.
  private mutating func handOver(_ place: Int32) {
    guard let releaser = flowUse.releaser, place >= 0 else { return }
    let flow = out.flows[place]
    let isAuthorized =
      (flow.connectAuthorization == flowUse.generation
        || flow.acceptAuthorization == flowUse.generation)
      && (flow.connectAuthorization == 0 || flow.connectAuthorization == flowUse.generation)
      && (flow.acceptAuthorization == 0 || flow.acceptAuthorization == flowUse.generation)
    guard !flow.isHandedOver, !flow.isAborted, flow.key.hasPorts,
      !flowUse.reach.isWanted(flow, isAuthorized: isAuthorized)
    else { return }
    let (first, firstPort, second, secondPort) = flow.key.ends
    var tuple = ConntrackTuple(
      source: first, destination: second, transportProtocol: flow.key.transportProtocol,
      sourcePort: firstPort, destinationPort: secondPort)
    if !flow.isForward { tuple = tuple.reversed }
    out.flows[place].isHandedOver = releaser.release(tuple, under: flowUse.generation)
  }

  /// Tells callouts of the contexts that have gone.
  mutating func tellDeletions() {
    while let deletion = out.flows.deletions.popLast() {
      let number = Int(deletion.callout)
      guard callouts.indices.contains(number) else { continue }
      callouts[number].flowDeleted(layer: deletion.layer, flowContext: deletion.context)
    }
  }

  /// Ends a flow; callouts are told.
  mutating func endFlow(_ place: Int32) {
    guard place >= 0 else { return }
    if out.flows[place].opener != .unknown {
      let isIPv6 = out.flows[place].key.isIPv6
      indicate(place, at: isIPv6 ? .aleEndpointClosureV6 : .aleEndpointClosureV4)
    }
    out.flows.end(place)
    tellDeletions()
  }

  /// Ends all flows, at the engine's end.
  mutating func endFlows() {
    out.flows.endAll()
    tellDeletions()
  }

  /// Shows a flow to the filters of a layer; false if they block it.
  @discardableResult
  mutating func indicate(_ place: Int32, at layer: Layer) -> Bool {
    let (policy, held) = (policy, heldCallouts)
    guard policy.hasFilters(at: layer) else { return true }
    let (packet, flow) = (out.packet, out.flow)
    out.beginPacket()
    out.packet = TaggedPacket()
    out.packet.layer = layer.rawValue
    out.flow = place
    let decision = out.evaluate(
      ClassifiedFlow(out.flows[place], at: layer), policy, held.span, hits: &hits)
    // There is no packet that could bear what was put on it.
    out.contexts.finish(out.packet.handle, .removedByCaller, .exact, layer: layer.rawValue)
    (out.packet, out.flow) = (packet, flow)
    out.beginPacket()
    switch decision.outcome {
    case .block, .absorb: return false
    default: return true
    }
  }

  /// Ends some of the flows of which neither packet nor event has come for too long.
  mutating func endIdleFlows() {
    var limit = 1024
    while limit > 0 {
      let now = now
      let place = out.flows.look(&limit) { $0.isIdle(at: now) }
      guard place >= 0 else { return }
      endFlow(place)
    }
  }

  /// Brings flows to what another policy makes of them: what released them counts no more, and what
  /// was authorized is authorized again.
  ///
  /// Call it while the callouts of the old policy are still known.
  mutating func changeFlows(to next: CompiledPolicy) {
    let numbers = next.numbers(of: policy.callouts)
    out.flows.renumber { number in
      numbers.indices.contains(Int(number)) ? numbers[Int(number)] : nil
    }
    tellDeletions()
    out.flowRules = next.flowRules
    if next.followsFlows, !out.followsFlows {
      out.flows = FlowTable(capacity: FlowUse.capacity)
    } else if !next.followsFlows, out.followsFlows {
      out.flows = FlowTable(capacity: 0)
    }
    if next.followsFlows != out.followsFlows {
      // Another table gives its numbers anew.
      flowUse.awaited = [:]
    }
    out.followsFlows = next.followsFlows
    flowUse.reach = flowUse.releaser == nil ? FlowReach() : FlowReach(next.policy)
    out.flows.change { flow in
      flow.released = 0
      flow.isHandedOver = false
    }
  }
}

extension FlowEntry {
  /// Whether nothing has come for longer than the kernel itself would wait.
  fileprivate func isIdle(at now: UInt64) -> Bool {
    let seconds: UInt64 =
      if isHandedOver {
        // Its packets are not seen: the kernel alone knows.
        432_000
      } else if connection == 0 {
        // Of what conntrack does not tell: WFP's 60 seconds, and an hour for TCP.
        key.isTCP && isAnswered ? 3600 : 60
      } else {
        key.isTCP ? 432_000 : 600
      }
    return now > lastMet &+ seconds &* 1_000_000_000
  }
}
