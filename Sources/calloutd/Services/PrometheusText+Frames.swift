// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import LinkLayer

extension PrometheusText {
  /// Frames in all, and those of each device and direction.
  static func renderFrames(_ statistics: BridgeStatistics, _ page: inout MetricPage) {
    let frames = statistics.frames
    let totals = [
      ("", "Frames decided at the MAC layers", frames.frames),
      ("_bytes", "Their bytes", frames.bytes),
      ("_held", "Frames that callouts kept for later", frames.held),
      ("_handed_over", "Frames given to the worker that owns what they bear", frames.handedOver),
      ("_rewritten", "Frames let go with new headers", frames.rewritten),
      ("_injected", "Frames injected", frames.injected),
      ("_injections_failed", "Frames that the kernel refused to inject", frames.injectionsFailed),
      ("_too_many_hops", "Frames not injected once more", frames.tooManyHops),
      ("_lost", "Held or rewritten frames that could not be sent", frames.lost),
    ]
    for (name, help, value) in totals {
      page.metric("callout_frames\(name)_total", "counter", help) { [("", value)] }
    }
    page.metric("callout_frame_verdicts_total", "counter", "Frames decided, by verdict") {
      [("absorb", frames.absorbed), ("block", frames.blocked), ("permit", frames.permitted)].map {
        (MetricPage.labels(["verdict": $0.0]), $0.1)
      }
    }
    page.metric("callout_frames_held", "gauge", "Frames that are kept now") {
      [("", UInt64(max(0, frames.heldNow)))]
    }
    for (name, help, value) in portCounters {
      page.metric("callout_port_\(name)_total", "counter", help) {
        statistics.ports.map { (MetricPage.labels($0.labels), value($0)) }
      }
    }
    page.metric("callout_port_lost_total", "counter", "Frames that are gone undecided, by kind") {
      statistics.ports.flatMap { port in
        port.losses.map { kind, count in
          (MetricPage.labels(port.labels.merging(["kind": kind]) { $1 }), count)
        }
      }
    }
    page.metric("callout_port_diverting", "gauge", "1 if the frames are diverted now") {
      statistics.ports.map { (MetricPage.labels($0.labels), $0.isAttached ? 1 : 0) }
    }
  }

  private static let portCounters: [(String, String, @Sendable (PortStatistics) -> UInt64)] = [
    ("diverted", "Frames taken from the device", { $0.counters.diverted }),
    ("received", "Frames read", { $0.counters.tally.received }),
    ("permitted", "Frames put back", { $0.counters.tally.permitted }),
    ("dropped", "Frames decided to vanish, or held", { $0.counters.tally.dropped }),
    ("overloaded", "Frames of the failure policy, too many waiting", { $0.counters.overloaded }),
    ("no_memory", "Frames of the failure policy, for want of memory", { $0.counters.unwrapped }),
    (
      "forced_removals", "Diverts taken down under way",
      { $0.counters.tally.forcedRemovals }
    ),
  ]
}

extension PortStatistics {
  fileprivate var labels: [String: String] {
    ["interface": deviceName, "index": "\(device)", "direction": direction.name]
  }
}
