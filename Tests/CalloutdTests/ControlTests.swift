// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutControl
import Foundation
import Kernel
import PacketTagging
import Testing

@testable import calloutd

struct ControlRequestTests {
  @Test(arguments: [
    ("", ControlFailure.Code.malformedRequest), ("[]", .malformedRequest),
    ("{\"command\":3}", .malformedRequest), ("{\"command\":\"nope\"}", .unknownCommand),
    ("{\"command\":\"events\",\"count\":-1}", .malformedRequest), ("\u{0}", .malformedRequest),
  ])
  func `a malformed request is refused with its kind`(text: String, code: ControlFailure.Code) {
    #expect {
      try ControlConnection.decode(Array(text.utf8))
    } throws: {
      ($0 as? ControlFailure)?.code == code
    }
  }

  @Test func `a request is read with its options`() throws {
    let request = try ControlConnection.decode(
      Array(#"{"command":"events","tag":"dns","count":3}"#.utf8))
    #expect(request == ControlRequest(.events, tag: "dns", count: 3))
  }
}

struct ReportTests {
  @Test func `an event line has WFP's names and whole 64-bit values`() {
    var event = LifeEvent()
    event.time = 5
    event.tag = ContextTag(rawValue: .max)
    event.context = 1 << 63
    event.handle = 7
    event.packetID = 8
    event.queue = 31000
    event.layer = Layer.outboundTransportV4.rawValue
    event.kind = .contextRemoved
    event.reason = .removedByCaller
    event.certainty = .observed
    event.associatedAt = Layer.outboundTransportV4.rawValue
    var line = EventLine(
      time: 5, event: "context_removed", tag: "0xffffffffffffffff", tagName: "dns",
      context: "0x8000000000000000", handle: 7, packetID: 8, queue: 31000,
      layer: "outbound-transport-v4", reason: "removed_by_caller", certainty: "observed")
    line.associatedAt = "outbound-transport-v4"
    #expect(EventLine(event, tagName: "dns") == line)
  }

  @Test func `a status sums queues and names the reasons that occurred`() {
    var first = QueueStatistics()
    first.packets = 3
    first.permitted = 2
    first.verdicts = 2
    var second = first
    second.absorbed = 1
    second.verdicts = 3
    var statistics = BridgeStatistics()
    statistics.queues = [first, second]
    statistics.markMask = 0xff_ff00
    statistics.tagging.associated = 4
    statistics.tagging.endedByReason[Int(RemovalReason.delivered.rawValue)] = 3
    var status = StatusReport(
      state: .running, version: "1",
      policy: StatusReport.Policy(file: "", sublayers: 0, callouts: 0, filters: 0, reloads: 0))
    status.fill(from: statistics)
    #expect(status.packets == 6)
    #expect(status.verdicts == 5)
    #expect(status.markMask == "0xffff00")
    #expect(status.endedByReason == ["delivered": 3])
    #expect(status.live == 1)
  }
}

struct UnixSocketTests {
  private let path = "/tmp/callout-test-\(UInt32.random(in: 0 ... .max)).sock"

  @Test func `only the owner may use the socket's file`() throws {
    let socket = try UnixSocket.listen(at: path)
    defer { UnixSocket.removeFile(at: path) }
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    _ = socket.number
  }

  @Test func `a socket on which somebody listens is not taken over`() throws {
    let socket = try UnixSocket.listen(at: path)
    defer { UnixSocket.removeFile(at: path) }
    #expect(throws: SystemError.self) { _ = try UnixSocket.listen(at: path).number }
    _ = socket.number
  }

  @Test func `a socket that a dead daemon left is replaced`() throws {
    do { _ = try UnixSocket.listen(at: path).number }
    let socket = try UnixSocket.listen(at: path)
    UnixSocket.removeFile(at: path)
    _ = socket.number
  }

  @Test func `a file that is no socket is never removed`() throws {
    try Data("x".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: SystemError.self) { _ = try UnixSocket.listen(at: path).number }
    UnixSocket.removeFile(at: path)
    #expect(FileManager.default.fileExists(atPath: path))
    try FileManager.default.removeItem(atPath: path)
  }

  @Test func `a path that is too long is an error`() {
    let path = "/tmp/" + String(repeating: "x", count: 200)
    #expect(throws: SystemError.self) { _ = try UnixSocket.listen(at: path).number }
  }
}
