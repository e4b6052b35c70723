// SPDX-License-Identifier: Apache-2.0

import CalloutControl
import Foundation
import Testing

struct CoderTests {
  private func roundTrip<Value: Codable & Equatable>(_ value: Value) throws {
    let data = try JSONEncoder().encode(value)
    #expect(try JSONDecoder().decode(Value.self, from: data) == value)
  }

  private func keys(_ value: some Encodable) throws -> Set<String> {
    let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(value))
    return Set(try #require(object as? [String: Any]).keys)
  }

  private var status: StatusReport {
    var status = StatusReport(
      state: .running, version: "1",
      policy: StatusReport.Policy(file: "p", sublayers: 1, callouts: 2, filters: 3, reloads: 4))
    status.markMask = "0xffff00"
    status.endedByReason = ["transmitted": .max]
    var port = PortReport(interface: "eth0", index: 2, direction: "inbound", diverting: true)
    port.lost = ["ring-full": 1]
    status.ports = [port]
    return status
  }

  private var event: EventLine {
    EventLine(
      time: 12_000_345_000, event: "context_removed", tag: "0xffffffffffffffff",
      tagName: "dns \"a\\b\"\n\u{1}ü", context: "0x8000000000000000", handle: 7, otherHandle: 8,
      packetID: 9, otherPacketID: 10, queue: 31000, layer: "outbound-transport-v4",
      reason: "transmitted", certainty: "exact")
  }

  @Test func `every type survives a round trip`() throws {
    try roundTrip(ControlRequest(.events, tag: "dns", count: 3))
    try roundTrip(ControlFailure(.unknownTag, "no"))
    try roundTrip(ControlFailure(.frameTooLong, "no", frame: 3))
    try roundTrip(
      ControlRequest(
        .inject,
        injection: InjectionRequest(
          interface: "eth0", direction: .receive, form: "ip", frames: ["AA=="])))
    try roundTrip(
      InjectionLine(
        first: 1, count: 2, injected: false, status: "interface down", code: "0xc023001f"))
    try roundTrip(status)
    try roundTrip(QueueReport(queue: 31000))
    try roundTrip(event)
    try roundTrip(
      TagReport(tag: "0x1", name: "a", onCopy: "share", associated: 3, live: 1, ended: 2))
    try roundTrip(ReloadReport(filters: 1, callouts: 2, notes: ["x"]))
    try roundTrip(
      CalloutReport(
        name: "a", type: "tag", tag: nil, filters: 1, packets: 2, bytes: 3, refused: 4))
    try roundTrip(
      FilterReport(
        name: "f", layer: "l", sublayer: "default", weight: .max, conditions: ["c"],
        action: "permit", callout: nil, hits: 1))
  }

  @Test func `the longest frame fits into a request`() throws {
    let frame = Data(repeating: 0xff, count: 65_535 + 18).base64EncodedString()
    #expect(frame.utf8.count + 3 <= InjectionRequest.maximumText)
    let request = ControlRequest(
      .inject,
      injection: InjectionRequest(
        interface: "an-interface-15", direction: .receive, form: "ethernet", frames: [frame]))
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    #expect(try encoder.encode(request).count < ControlRequest.maximumLength)
  }

  @Test func `durations are numbers with units`() {
    #expect(Duration(text: "10ms") == .milliseconds(10))
    #expect(Duration(text: "2h") == .seconds(7200))
    for text in ["", "10", "ms", "-1s", "1.5s", "1 s", "99999999999s"] {
      #expect(Duration(text: text) == nil)
    }
  }

  @Test func `a status has the documented keys`() throws {
    let expected: Set<String> = [
      "state", "version", "backend", "mark-mask", "epoch", "associated", "ended", "live",
      "ended-by-reason", "handles-refused", "stale-handles", "foreign-flows", "copies",
      "events-lost", "notify-failures", "warnings", "packets", "verdicts", "policy",
      "frames", "ports",
    ]
    #expect(try keys(status).isSuperset(of: expected))
  }

  @Test func `a queue has all its keys, what is unknown as null`() throws {
    let expected: Set<String> = [
      "queue", "rule-packets", "ids-issued", "verdicts", "flushed", "id-gaps", "waiting",
      "queue-dropped", "user-dropped", "fail-open-passes", "pended-now", "malformed",
    ]
    #expect(try keys(QueueReport(queue: 1)).isSuperset(of: expected))
  }

  @Test func `the line written by hand is what a coder reads`() throws {
    var line: [UInt8] = []
    event.appendJSON(to: &line)
    #expect(line.last == UInt8(ascii: "\n"))
    #expect(line.dropLast().allSatisfy { $0 >= 0x20 })
    #expect(try JSONDecoder().decode(EventLine.self, from: Data(line)) == event)
  }

  @Test func `an event without name, reason and copy leaves these out`() throws {
    let event = EventLine(
      time: 1, event: "exit_netio", tag: "0x1", tagName: nil, context: "0x2", handle: 3,
      packetID: 4, queue: 5, layer: "ipforward-v6", reason: nil, certainty: "observed")
    var line: [UInt8] = []
    event.appendJSON(to: &line)
    #expect(
      String(decoding: line, as: UTF8.self)
        == """
        {"time":1,"event":"exit_netio","tag":"0x1","context":"0x2","handle":3,"packet-id":4,\
        "queue":5,"layer":"ipforward-v6","certainty":"observed"}

        """)
    #expect(try JSONDecoder().decode(EventLine.self, from: Data(line)) == event)
  }

  @Test func `a captured packet has its documented keys and is told from an event`() throws {
    let packet = PacketLine(
      time: 1, handle: 2, packetID: 3, queue: 4, layer: "ipforward-v6", device: "eth0",
      isInbound: true, originalLength: 1500, contexts: 1, bytes: "AQ==")
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let line = try encoder.encode(CaptureLine(packet: packet))
    #expect(
      String(decoding: line, as: UTF8.self) == """
        {"packet":{"bytes":"AQ==","contexts":1,"device":"eth0","handle":2,"inbound":true,\
        "layer":"ipforward-v6","length":1500,"packet-id":3,"queue":4,"time":1}}
        """)
    #expect(CaptureLine.isOne(Array(line)))
    #expect(try JSONDecoder().decode(CaptureLine.self, from: line).packet == packet)
    let begun = CaptureLine(begun: CaptureLine.Beginning(time: 1, snap: 96))
    #expect(CaptureLine.isOne(Array(try encoder.encode(begun))))
    #expect(CaptureLine.isOne(Array(try encoder.encode(CaptureLine(lost: 7)))))
    #expect(!CaptureLine.isOne(Array(#"{"time":1,"event":"exit_netio"}"#.utf8)))
  }

  @Test func `a failure of a newer daemon is still a failure`() throws {
    let text = #"{"error":{"code":"new-kind","message":"m"}}"#
    let failure = try JSONDecoder().decode(ControlFailure.self, from: Data(text.utf8))
    #expect(failure.code == nil)
    #expect(failure.description == "m")
  }
}
