// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import CalloutEngine
internal import PacketTagging

/// Answers requests from what the daemon knows.
struct ControlAnswers: Sendable {
  let daemon: Daemon

  /// The answer to any request but `events` and `capture`: JSON without newlines.
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
      let counted = try await statistics()
      let (hits, kernelHits) = (counted.filterHits, counted.kernelHits)
      return try encode(
        file.filters.enumerated().map { number, spec in
          FilterReport(
            spec.filter, hits: number < hits.count ? hits[number] : 0,
            kernelHits: number < kernelHits.count ? kernelHits[number] : 0)
        })
    case .callouts: return try encode(daemon.snapshot.calloutReports)
    case .reload: return try encode([try await daemon.reload()])
    case .inject:
      guard let injection = request.injection else {
        throw ControlFailure(.malformedRequest, "the key injection is missing")
      }
      try checkRunning()
      let snapshot = daemon.snapshot
      let layers = snapshot.roster.policy(of: snapshot.file).injectableLayers
      let answer = InjectionAnswer(bridge: daemon.bridge, layers: layers)
      return try encode(try await answer.lines(for: injection))
    case .explain:
      guard let explain = request.explain else {
        throw ControlFailure(.malformedRequest, "the key explain is missing")
      }
      let snapshot = daemon.snapshot
      let live = snapshot.roster.policy(of: snapshot.file)
      let policy: CompiledPolicy
      do { policy = try CompiledPolicy(live, fewFilters: .max) } catch {
        throw ControlFailure(.failed, "\(error)")
      }
      return try encode(try ExplainAnswer(policy: policy).lines(for: explain))
    case .events, .capture: return []
    }
  }

  /// The stream that answers `events`.
  func eventLines(for request: ControlRequest) throws(ControlFailure) -> EventLines {
    _ = try tag(for: request)
    return EventLines(events: daemon.bridge.events(), bridge: daemon.bridge, tagName: request.tag)
  }

  /// The whole answer to `events`.
  func eventsAnswer(to request: ControlRequest) throws(ControlFailure) -> EventsAnswer {
    EventsAnswer(
      events: try eventLines(for: request), bridge: daemon.bridge,
      tellsDrops: request.drops == true, count: request.count)
  }

  /// The stream that answers `capture`.
  func captureStream(for request: ControlRequest) async throws(ControlFailure) -> CaptureStream {
    try checkRunning()
    let tag = try tag(for: request)
    // Events first, so that none of a captured packet is missed.
    let events = try eventLines(for: request)
    do {
      let capture = try await daemon.bridge.capture(snap: Int(request.snap ?? .max), tag: tag)
      return CaptureStream(events: events, capture: capture)
    } catch {
      throw ControlFailure(.failed, error.description)
    }
  }

  private func tag(for request: ControlRequest) throws(ControlFailure) -> ContextTag? {
    guard let name = request.tag else { return nil }
    if let tag = daemon.snapshot.roster.entries[name]?.tag { return tag }
    throw ControlFailure(.unknownTag, "there is no tag \"\(name)\"; see calloutctl tags")
  }

  private func checkRunning() throws(ControlFailure) {
    guard daemon.snapshot.phase == .running else {
      throw ControlFailure(.notRunning, "the daemon is starting or stopping; try again later")
    }
  }

  private func statistics() async throws(ControlFailure) -> BridgeStatistics {
    try checkRunning()
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
