// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging

// What other threads ask of a worker; each runs between two batches.
extension WorkerState {
  /// Everything counted so far.
  func statistics() -> QueueStatistics {
    var result = QueueStatistics()
    result.number = socket.options.number
    result.portID = socket.portID
    result.copyRange = socket.options.copyRange
    result.maximumLength = socket.options.maximumLength
    result.packets = counters.packets
    result.bytes = counters.bytes
    result.permitted = counters.permitted
    result.blocked = counters.blocked
    result.absorbed = counters.absorbed
    result.bridgedFrames = counters.bridgedFrames
    result.repeated = counters.repeated
    result.requeued = counters.requeued
    result.handedOver = counters.handedOver
    result.pended = counters.pended
    result.pendExpired = counters.pendExpired
    result.awaitedProcesses = counters.awaitedProcesses
    result.failurePolicyApplied = counters.failurePolicyApplied
    result.malformed = counters.malformed
    result.malformedMessages = counters.malformedMessages
    result.rewritten = counters.rewritten
    result.rewritesRefused = out.events.rewritesRefused
    result.vetoes = out.events.vetoes
    result.verdictsUnsent = socket.verdicts.unsentCount
    result.verdicts =
      socket.verdicts.verdictCount &- counters.verdictErrors &- result.verdictsUnsent
    result.verdictMessages = socket.verdicts.messageCount
    result.idGaps = counters.idGaps
    result.flushed = counters.flushed
    result.verdictErrors = counters.verdictErrors
    result.refusals = counters.refusals
    result.pendedNow = pended.count
    result.suspects = suspectCount
    result.receiveBufferBytes = socket.receiveBufferBytes
    result.tagging = out.contexts.counters
    if let status = QueueStatus.all().first(where: { $0.number == socket.options.number }) {
      result.waiting = status.waiting
      result.queueDropped = status.queueDropped
      result.userDropped = status.userDropped
      result.idsIssued =
        counters.packets &+ counters.idGaps &+ UInt64(status.lastID &- (lastID ?? 0))
    }
    result.socketDrops = SocketDrops.of(portID: socket.portID)
    return result
  }

  /// Whether nothing waits but pended packets.
  func isQuiet() -> Bool {
    guard let status = QueueStatus.all().first(where: { $0.number == socket.options.number })
    else { return true }
    if status.waiting == 0 { return true }
    return Int(status.waiting) <= pended.count && status.lastID == (lastID ?? 0)
  }
}

/// Messages that a netlink socket could not take, from /proc/net/netlink.
enum SocketDrops {
  static func of(portID: UInt32) -> UInt64 {
    let text = (try? KernelFile.text("/proc/thread-self/net/netlink")) ?? nil
    for line in (text ?? "").split(separator: "\n") {
      let columns = line.split(whereSeparator: \.isWhitespace)
      guard columns.count >= 9, columns[1] == "12", UInt32(columns[2]) == portID else { continue }
      return UInt64(columns[8]) ?? 0
    }
    return 0
  }
}
