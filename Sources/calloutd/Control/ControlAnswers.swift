// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import CalloutEngine
internal import PacketTagging

/// Answers requests from what the daemon knows.
struct ControlAnswers: Sendable {
  let daemon: Daemon

  /// The answer to any request but `events`: JSON without newlines.
  func lines(for request: ControlRequest) async throws(ControlFailure) -> [[UInt8]] {
    guard let command = ControlRequest.Command(rawValue: request.command) else {
      throw ControlFailure(.unknownCommand, "there is no command \"\(request.command)\"")
    }
    switch command {
    case .status:
      let snapshot = daemon.snapshot
      var report = StatusReport(
        state: snapshot.phase, version: calloutVersion, policy: snapshot.policyReport)
      if snapshot.phase == .running { report.fill(from: try await statistics()) }
      report.warnings += snapshot.restartNotes
      return try encode([report])
    case .queues: return try encode(try await statistics().queues.map { QueueReport($0) })
    case .tags: return try encode(try await statistics().tags.map { TagReport($0) })
    case .filters:
      let file = daemon.snapshot.file
      let hits = try await statistics().filterHits
      return try encode(
        file.filters.enumerated().map { number, spec in
          FilterReport(spec.filter, hits: number < hits.count ? hits[number] : 0)
        })
    case .callouts: return try encode(daemon.snapshot.calloutReports)
    case .reload: return try encode([try await daemon.reload()])
    case .events: return []
    }
  }

  /// The stream that answers `events`.
  func eventLines(for request: ControlRequest) throws(ControlFailure) -> EventLines {
    if let tag = request.tag, daemon.snapshot.roster.entries[tag]?.tag == nil {
      throw ControlFailure(.unknownTag, "there is no tag \"\(tag)\"; see calloutctl tags")
    }
    return EventLines(events: daemon.bridge.events(), bridge: daemon.bridge, tagName: request.tag)
  }

  private func statistics() async throws(ControlFailure) -> BridgeStatistics {
    guard daemon.snapshot.phase == .running else {
      throw ControlFailure(.notRunning, "the daemon is starting or stopping; try again later")
    }
    do { return try await daemon.bridge.statistics() } catch {
      throw ControlFailure(.failed, error.description)
    }
  }

  private func encode(_ values: [some Encodable]) throws(ControlFailure) -> [[UInt8]] {
    do { return try values.map { try JSONLine.bytes($0) } } catch {
      throw ControlFailure(.failed, "the answer cannot be written as JSON: \(error)")
    }
  }
}
