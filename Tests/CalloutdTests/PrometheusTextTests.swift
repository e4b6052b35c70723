// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import PacketTagging
import Testing

@testable import calloutd

struct PrometheusTextTests {
  private var statistics: BridgeStatistics {
    var queue = QueueStatistics()
    queue.number = 31000
    queue.packets = 12
    queue.permitted = 10
    queue.blocked = 2
    queue.waiting = 3
    queue.rulePackets = 15
    var statistics = BridgeStatistics()
    statistics.queues = [queue]
    statistics.tagging.associated = 5
    statistics.tagging.endedByReason[Int(RemovalReason.transmitted.rawValue)] = 4
    statistics.filterHits = [9]
    return statistics
  }

  @Test func `a queue is shown with its number and each verdict by name`() throws {
    let lines = PrometheusText.render(statistics).split(separator: "\n")
    let queue = lines.filter { $0.contains("31000") && !$0.hasSuffix(" 0") }
    #expect(
      queue == [
        #"callout_queue_packets_total{queue="31000"} 12"#,
        #"callout_queue_rule_packets_total{queue="31000"} 15"#,
        #"callout_queue_verdicts_total{queue="31000",verdict="block"} 2"#,
        #"callout_queue_verdicts_total{queue="31000",verdict="permit"} 10"#,
        #"callout_queue_waiting{queue="31000"} 3"#,
      ])
    #expect(!lines.contains { $0.contains("fail_open_passes") })
  }

  @Test func `frames are shown by verdict`() {
    var statistics = statistics
    statistics.frames.frames = 7
    statistics.frames.blocked = 2
    let text = PrometheusText.render(statistics)
    #expect(text.contains("\ncallout_frames_total 7\n"))
    #expect(text.contains("\ncallout_frame_verdicts_total{verdict=\"block\"} 2\n"))
    #expect(!text.contains("callout_port_"))
  }

  @Test func `contexts are shown, ended ones by reason`() {
    let text = PrometheusText.render(statistics)
    #expect(text.contains("\ncallout_contexts_associated_total 5\n"))
    #expect(text.contains("\ncallout_contexts_live 1\n"))
    #expect(text.contains("\ncallout_contexts_ended_total{reason=\"transmitted\"} 4\n"))
  }

  @Test func `each sample follows its help and type, and a name comes once`() {
    var names: Set<String> = []
    var current = ""
    for line in PrometheusText.render(statistics).split(separator: "\n") {
      let words = line.split(separator: " ")
      if line.hasPrefix("# TYPE") {
        current = String(words[2])
        #expect(names.insert(current).inserted)
      } else if !line.hasPrefix("#") {
        #expect(line.prefix { $0 != "{" && $0 != " " } == current)
        #expect(UInt64(words[words.count - 1]) != nil)
      }
    }
    #expect(names.count > 30)
  }

  @Test func `names of filters are escaped`() throws {
    let file = try PolicyFile.parse(
      "filters:\n- { name: 'a \"b\" \\', layer: ipforward-v4, action: permit }\n", path: "p")
    let text = PrometheusText.render(statistics, filters: file.filters)
    #expect(text.contains(#"{filter="a \"b\" \\",layer="ipforward-v4"} 9"#))
  }
}
