// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import PacketTagging

/// Statistics in Prometheus' text format.
enum PrometheusText {
  /// The whole page.
  static func render(_ statistics: BridgeStatistics, filters: [FilterSpec] = []) -> String {
    var page = MetricPage()
    renderQueues(statistics.queues, &page)
    page.metric("callout_rule_packets_total", "counter", "Packets that met our rules") {
      statistics.rulePackets.map { [("", $0)] } ?? []
    }
    page.metric(
      "callout_fail_open_passes_total", "counter", "Packets that full queues let pass unseen"
    ) {
      statistics.failOpenPasses.map { [("", $0)] } ?? []
    }
    renderFrames(statistics, &page)
    renderTagging(statistics.tagging, &page)
    page.metric("callout_notify_failures_total", "counter", "Notify functions that failed") {
      [("", statistics.notifyFailures)]
    }
    page.metric("callout_filter_hits_total", "counter", "Packets that matched a filter") {
      zip(filters, statistics.filterHits).map {
        (MetricPage.labels(["filter": $0.filter.name, "layer": $0.filter.layer.name]), $1)
      }
    }
    page.metric(
      "callout_filter_kernel_hits_total", "counter", "Packets that a filter decided in the kernel"
    ) {
      zip(filters, statistics.kernelHits).map {
        (MetricPage.labels(["filter": $0.filter.name, "layer": $0.filter.layer.name]), $1)
      }
    }
    page.metric("callout_tag_live", "gauge", "Associations of a tag that have not ended") {
      statistics.tags.map { (MetricPage.labels(["tag": $0.name]), $0.live) }
    }
    page.metric("callout_healthy", "gauge", "1 if queues and rules are as they should be") {
      [("", statistics.isHealthy ? 1 : 0)]
    }
    return page.text
  }

  private static func renderQueues(_ queues: [QueueStatistics], _ page: inout MetricPage) {
    func each(_ value: (QueueStatistics) -> UInt64?) -> [(String, UInt64)] {
      queues.compactMap { queue in
        value(queue).map { (MetricPage.labels(["queue": "\(queue.number)"]), $0) }
      }
    }
    for (name, help, value) in queueCounters {
      page.metric("callout_queue_\(name)_total", "counter", help) { each(value) }
    }
    page.metric("callout_queue_verdicts_total", "counter", "Packets decided, by verdict") {
      queues.flatMap { queue in
        verdicts.map { name, value in
          (MetricPage.labels(["queue": "\(queue.number)", "verdict": name]), value(queue))
        }
      }
    }
    page.metric("callout_queue_waiting", "gauge", "Packets that wait in the kernel") {
      each { UInt64($0.waiting) }
    }
    page.metric("callout_queue_pended", "gauge", "Packets that callouts keep waiting") {
      each { UInt64(max(0, $0.pendedNow)) }
    }
    page.metric("callout_queue_length_limit", "gauge", "Packets that may wait") {
      each { UInt64($0.maximumLength) }
    }
  }

  private static let verdicts: [(String, @Sendable (QueueStatistics) -> UInt64)] = [
    ("absorb", { $0.absorbed }), ("block", { $0.blocked }), ("permit", { $0.permitted }),
    ("repeat", { $0.repeated }), ("requeue", { $0.requeued }),
  ]

  private static let queueCounters: [(String, String, @Sendable (QueueStatistics) -> UInt64?)] = [
    ("packets", "Packets received", { $0.packets }),
    ("bytes", "Their bytes", { $0.bytes }),
    ("bridged_frames", "Packets that were frames on bridges", { $0.bridgedFrames }),
    ("pends", "Packets that callouts kept waiting", { $0.pended }),
    ("pends_expired", "Packets kept waiting past their deadline", { $0.pendExpired }),
    ("failure_policy", "Packets that the failure policy decided", { $0.failurePolicyApplied }),
    ("malformed", "Packets whose headers cannot be read", { $0.malformed }),
    ("rewritten", "Packets changed", { $0.rewritten }),
    ("rewrites_refused", "Changes refused", { $0.rewritesRefused }),
    ("vetoes", "Blocks of packets that had been permitted for good", { $0.vetoes }),
    ("verdict_messages", "Netlink messages that carried verdicts", { $0.verdictMessages }),
    ("verdict_errors", "Verdicts that the kernel refused", { $0.verdictErrors }),
    ("verdicts_unsent", "Verdicts that could not be sent at all", { $0.verdictsUnsent }),
    ("ids_issued", "Packet ids that the kernel has issued", { $0.idsIssued }),
    ("id_gaps", "Packets lost at the socket", { $0.idGaps }),
    ("flushed", "Packets that the kernel dropped while they waited", { $0.flushed }),
    ("full_drops", "Packets dropped because the queue was full", { UInt64($0.queueDropped) }),
    ("user_drops", "Packets dropped because the socket was full", { UInt64($0.userDropped) }),
    ("socket_drops", "The socket's own drops", { $0.socketDrops }),
    ("rule_packets", "Packets that met the rules", { $0.rulePackets }),
    ("fail_open_passes", "Packets that a full queue let pass", { $0.failOpenPasses }),
  ]

  private static func renderTagging(_ tagging: TaggingCounters, _ page: inout MetricPage) {
    page.metric("callout_contexts_associated_total", "counter", "Associations made") {
      [("", tagging.associated)]
    }
    page.metric("callout_contexts_live", "gauge", "Associations that have not ended") {
      [("", tagging.live)]
    }
    page.metric("callout_contexts_ended_total", "counter", "Associations ended, by reason") {
      RemovalReason.allCases.filter { $0 != .none }.map {
        (MetricPage.labels(["reason": $0.name]), tagging.ended($0))
      }
    }
    let counters = [
      ("events_lost", "Events that did not fit the stream", tagging.eventsLost),
      ("handles_refused", "Associations refused for want of a handle", tagging.handlesRefused),
      ("stale_handles", "Packets with a handle that means nothing", tagging.staleHandles),
      ("foreign_flows", "Packets with another flow's handle", tagging.foreignFlows),
      ("copies", "Copies made by the kernel", tagging.copies),
    ]
    for (name, help, value) in counters {
      page.metric("callout_\(name)_total", "counter", help) { [("", value)] }
    }
  }
}

/// The page while it is written.
struct MetricPage {
  private(set) var text = ""

  /// Adds a metric with its samples; one without any is left out.
  mutating func metric(
    _ name: String, _ type: String, _ help: String, _ samples: () -> [(String, UInt64)]
  ) {
    let samples = samples()
    guard !samples.isEmpty else { return }
    text += "# HELP \(name) \(help).\n# TYPE \(name) \(type)\n"
    for (labels, value) in samples { text += "\(name)\(labels) \(value)\n" }
  }

  /// Labels in braces, by name.
  static func labels(_ labels: [String: String]) -> String {
    let list = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escape($0.value))\"" }
    return "{\(list.joined(separator: ","))}"
  }

  private static func escape(_ value: String) -> String {
    var escaped = ""
    for character in value {
      switch character {
      case "\\": escaped += "\\\\"
      case "\"": escaped += "\\\""
      case "\n": escaped += "\\n"
      default: escaped.append(character)
      }
    }
    return escaped
  }
}
