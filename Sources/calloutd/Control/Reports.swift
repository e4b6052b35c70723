// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import CalloutEngine
internal import Glibc
internal import PacketTagging

extension Daemon.Snapshot {
  /// The policy in force.
  var policyReport: StatusReport.Policy {
    StatusReport.Policy(
      file: file.path, sublayers: file.sublayers.count, callouts: file.callouts.count,
      filters: file.filters.count, reloads: reloads)
  }

  /// The callouts in the policy's order.
  var calloutReports: [CalloutReport] {
    file.callouts.compactMap { spec in
      guard let entry = roster.entries[spec.name] else { return nil }
      return CalloutReport(
        name: spec.name, type: entry.type, tag: entry.tag == nil ? nil : spec.name,
        filters: file.filters.count { $0.filter.action.callout == spec.name },
        packets: entry.board.packets, bytes: entry.board.bytes, refused: entry.board.refused)
    }
  }
}

extension StatusReport {
  /// Takes over what the bridge has counted.
  mutating func fill(from statistics: BridgeStatistics) {
    healthy = statistics.isHealthy
    backend = statistics.backend
    source = statistics.isObserved ? "kernel" : "verdicts"
    markMask = statistics.markMask.map { hexadecimal($0) }
    epoch = statistics.epoch
    packets = statistics.queues.reduce(0) { $0 &+ $1.packets }
    verdicts = statistics.queues.reduce(0) { $0 &+ $1.verdicts }
    rulePackets = statistics.rulePackets
    failOpenPasses = statistics.failOpenPasses
    frames = FrameReport(statistics.frames)
    ports = statistics.ports.map { PortReport($0) }.sorted {
      ($0.interface, $0.direction, $0.index) < ($1.interface, $1.direction, $1.index)
    }
    let tagging = statistics.tagging
    associated = tagging.associated
    ended = tagging.ended
    live = tagging.live
    for reason in RemovalReason.allCases where tagging.ended(reason) > 0 {
      endedByReason[reason.name] = tagging.ended(reason)
    }
    handlesRefused = tagging.handlesRefused
    staleHandles = tagging.staleHandles
    foreignFlows = tagging.foreignFlows
    copies = tagging.copies
    eventsLost = tagging.eventsLost
    notifyFailures = statistics.notifyFailures
    vetoes = statistics.queues.reduce(0) { $0 &+ $1.vetoes }
    warnings = statistics.warnings
  }
}

extension QueueReport {
  /// What one queue has counted.
  init(_ queue: QueueStatistics) {
    self.init(queue: queue.number)
    portID = queue.portID
    copyRange = queue.copyRange
    maximumLength = queue.maximumLength
    packets = queue.packets
    bytes = queue.bytes
    verdicts = queue.verdicts
    permitted = queue.permitted
    blocked = queue.blocked
    absorbed = queue.absorbed
    bridgedFrames = queue.bridgedFrames
    repeated = queue.repeated
    requeued = queue.requeued
    pended = queue.pended
    pendedNow = queue.pendedNow
    pendExpired = queue.pendExpired
    failurePolicyApplied = queue.failurePolicyApplied
    malformed = queue.malformed
    rewritten = queue.rewritten
    rewritesRefused = queue.rewritesRefused
    vetoes = queue.vetoes
    verdictMessages = queue.verdictMessages
    verdictErrors = queue.verdictErrors
    verdictsUnsent = queue.verdictsUnsent
    for (errno, count) in queue.refusals { refusals[Self.name(of: errno)] = count }
    idsIssued = queue.idsIssued
    idGaps = queue.idGaps
    flushed = queue.flushed
    waiting = queue.waiting
    queueDropped = queue.queueDropped
    userDropped = queue.userDropped
    socketDrops = queue.socketDrops
    rulePackets = queue.rulePackets
    failOpenPasses = queue.failOpenPasses
    receiveBufferBytes = queue.receiveBufferBytes
    associated = queue.tagging.associated
    live = queue.tagging.live
  }

  private static func name(of errno: Int32) -> String {
    switch errno {
    case EPERM: "EPERM"
    case ENOENT: "ENOENT"
    case ENOMEM: "ENOMEM"
    case EINVAL: "EINVAL"
    case ENODEV: "ENODEV"
    case ENOBUFS: "ENOBUFS"
    case EMSGSIZE: "EMSGSIZE"
    default: "\(errno)"
    }
  }
}

extension TagReport {
  /// What one tag has counted.
  init(_ tag: TagStatistics) {
    self.init(
      tag: hexadecimal(tag.tag.rawValue), name: tag.name, onCopy: tag.tag.disposition.policyName,
      associated: tag.associated, live: tag.live, ended: tag.ended)
  }
}

extension FilterReport {
  /// A filter with its hits.
  init(_ filter: Filter, hits: UInt64, kernelHits: UInt64) {
    self.init(
      name: filter.name, layer: filter.layer.name, sublayer: filter.sublayer,
      weight: filter.effectiveWeight, conditions: filter.conditions.map(\.policyText),
      action: filter.action.name, callout: filter.action.callout,
      flags: filter.flags.setNames, hits: hits, kernelHits: kernelHits)
  }
}

extension EventLine {
  /// An event in words.
  init(_ event: LifeEvent, tagName: String?, details: EventDetails = EventDetails()) {
    self.init(
      time: event.time, event: event.kind.name, tag: hexadecimal(event.tag.rawValue),
      tagName: tagName, context: hexadecimal(event.context), handle: event.handle,
      otherHandle: event.otherHandle == 0 ? nil : event.otherHandle, packetID: event.packetID,
      otherPacketID: event.otherPacketID == 0 ? nil : event.otherPacketID, queue: event.queue,
      layer: Layer(rawValue: event.layer)?.name ?? "none",
      reason: event.kind == .contextRemoved ? event.reason.name : nil,
      certainty: event.certainty.name)
    associatedAt = Layer(rawValue: event.associatedAt)?.name
    device = details.device
    dropReason = details.dropReason
    place = details.place
    if event.kind == .contextRemoved, event.reason == .delivered { isRead = event.isRead }
  }
}
