// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import LinkLayer

extension FrameReport {
  /// What all workers have counted.
  init(_ frames: FrameStatistics) {
    self.init()
    self.frames = frames.frames
    bytes = frames.bytes
    permitted = frames.permitted
    blocked = frames.blocked
    absorbed = frames.absorbed
    held = frames.held
    heldNow = frames.heldNow
    handedOver = frames.handedOver
    rewritten = frames.rewritten
    lost = frames.lost
    injected = frames.injected
    injectionsFailed = frames.injectionsFailed
    tooManyHops = frames.tooManyHops
  }
}

extension PortReport {
  /// What one port has counted.
  init(_ port: PortStatistics) {
    let (counters, tally) = (port.counters, port.counters.tally)
    self.init(
      interface: port.deviceName, index: port.device, direction: port.direction.name,
      diverting: port.isAttached)
    diverted = counters.diverted
    received = tally.received
    permitted = tally.permitted
    dropped = tally.dropped
    detoured = tally.detoured
    returned = counters.returned
    overloaded = counters.overloaded
    noMemory = counters.unwrapped
    passed = counters.passed
    forcedRemovals = tally.forcedRemovals
    overtaken = tally.overtaken
    for (kind, count) in port.losses where count > 0 { lost[kind] = count }
  }
}

extension PortStatistics {
  /// Frames that are gone though nobody decided so, by kind.
  var losses: [(kind: String, count: UInt64)] {
    [
      ("ring-full", counters.ringLosses), ("truncated", counters.truncated),
      ("malformed", counters.malformed), ("device-down", counters.tally.deviceDown),
      ("device-gone", counters.tally.deviceGone), ("too-long", counters.tally.tooLong),
      ("no-room", counters.tally.noRoom), ("refused", counters.tally.refused),
      ("strayed", counters.tally.strayed), ("unaccounted", counters.tally.unaccounted),
    ]
  }
}

extension LinkDirection {
  /// Its name in reports and metrics.
  var name: String {
    switch self {
    case .inbound: "inbound"
    case .outbound: "outbound"
    }
  }
}
