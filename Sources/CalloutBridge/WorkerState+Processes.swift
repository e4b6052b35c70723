// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews
internal import SocketOwners

/// The first packet of a flow, while the flow's process is looked for.
final class HeldPacket: Sendable {
  let bytes: [UInt8]
  let metadata: PacketMetadata
  let flow: FlowReference

  init(_ packet: borrowing ClassifiedPacket, _ flow: FlowReference) {
    bytes = packet.copyBytes()
    metadata = packet.metadata
    self.flow = flow
  }
}

// First packets wait in the kernel until it is known whose their flows are, and are classified then. Off
// the packet path: here memory may be allocated.
extension WorkerState {
  enum ProcessSearch {
    /// The packet waits.
    case begun
    /// No process can be told of such packets.
    case impossible
    /// Too much waits already.
    case refused
  }

  /// Keeps a packet waiting until its flow's process is known.
  mutating func findProcess(_ packet: borrowing ClassifiedPacket) -> ProcessSearch {
    let isInbound = packet.hook == .input
    guard let resolver = flowUse.resolver,
      let query = SocketQuery(
        packet.layout, isInbound: isInbound,
        device: isInbound ? packet.metadata.inputDevice : packet.metadata.outputDevice)
    else { return .impossible }
    var entry = PendedEntry()
    entry.deadline = now &+ flowUse.patience
    entry.mark = packet.metadata.mark
    entry.packet = out.packet
    entry.hook = packet.hook
    entry.isIPv6 = packet.layer.isIPv6
    entry.devices = [
      packet.metadata.inputDevice, packet.metadata.outputDevice,
      packet.metadata.physicalInputDevice, packet.metadata.physicalOutputDevice,
    ]
    entry.timeout = .classification
    let flow = out.flows.reference(out.flow)
    entry.held = HeldPacket(packet, flow)
    guard phase == .running, let ticket = pended.insert(entry) else { return .refused }
    counters.awaitedProcesses &+= 1
    let number = out.flow < 0 ? 0 : flow.id
    // One answer is for all packets of a flow.
    if flowUse.awaited[number]?.append(ticket) != nil { return .begun }
    guard resolver.find(query, ticket: ticket, flow: number, for: desk.mailbox) else {
      _ = pended.remove(ticket)
      return .refused
    }
    if number != 0 { flowUse.awaited[number] = [ticket] }
    return .begun
  }

  /// Classifies the packets that waited for a process; nil if there is none, or it may not be seen.
  mutating func resume(_ ticket: UInt64, ofFlow flow: UInt64, _ process: FlowProcess?) {
    for ticket in flowUse.awaited.removeValue(forKey: flow) ?? [ticket] {
      guard let entry = pended.remove(ticket) else { continue }
      classify(entry, process, isLate: false)
    }
  }

  /// Classifies a packet that has waited; one that is late is not let go under a policy that fails
  /// closed.
  mutating func classify(_ entry: PendedEntry, _ process: FlowProcess?, isLate: Bool) {
    let unsettled = UnsettledPacket(
      entry.packet.id, verdicts: socket.verdicts, failure: failureVerdict)
    guard let held = entry.held else { return settleFailing(unsettled) }
    let contents = held.bytes
    let bytes = contents.span.packetBytes
    guard let layout = try? PacketLayout(parsing: bytes) else { return settleFailing(unsettled) }
    let (policy, callouts) = (policy, heldCallouts)
    var metadata = held.metadata
    metadata.processID = process?.id
    metadata.program = process.map { policy.blobs.place(of: Array($0.path.utf8)) }
    out.beginPacket()
    out.packet = entry.packet
    out.process = process
    var traits = PacketTraits(layout)
    let packet = ClassifiedPacket(
      bytes: bytes, layout: layout,
      layer: Layer(hook: entry.hook, isIPv6: entry.isIPv6, traits), metadata: metadata,
      hook: entry.hook)
    traits.formUnion(meetAgain(held.flow, entry.hook))
    if flowUse.isAborted {
      settle(unsettled, .aborted, packet, at: packet.layer)
    } else if isLate, failurePolicy == .block {
      settle(unsettled, .failing, packet, at: packet.layer)
    } else {
      judge(unsettled, packet, traits, policy, callouts.span)
    }
    out.process = nil
    leaveFlow()
  }
}
