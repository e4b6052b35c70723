// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CalloutControl
import Glibc
import Kernel
import Testing

@testable import calloutctl

struct CalloutctlTests {
  @Test func `status is one aligned line a fact`() {
    var status = StatusReport(
      state: .running, version: "0.1.0",
      policy: StatusReport.Policy(
        file: "/etc/callout/policy.yaml", sublayers: 1, callouts: 4, filters: 2, reloads: 1))
    status.backend = "nft"
    status.source = "kernel"
    status.markMask = "0xffff00"
    status.packets = 10
    status.verdicts = 9
    status.associated = 5
    status.live = 1
    status.ended = 4
    status.endedByReason = ["transmitted": 3, "blocked": 1]
    status.staleHandles = 2
    status.warnings = ["net.ipv4.fwmark_reflect is 1"]
    #expect(
      StatusCommand.render(status) == """
        state             running
        version           0.1.0
        policy            /etc/callout/policy.yaml (2 filters, 4 callouts, 1 reloads)
        rules             nft
        life cycle        told by the kernel
        mark mask         0xffff00
        packets           10
        verdicts          9
        contexts          5 associated = 1 live + 4 ended
          blocked         1
          transmitted     3
        stale handles     2
        warning           net.ipv4.fwmark_reflect is 1

        """)
  }

  @Test func `status tells of frames and devices where there are any`() {
    var status = StatusReport(
      state: .running, version: "1",
      policy: StatusReport.Policy(file: "p", sublayers: 0, callouts: 0, filters: 0, reloads: 0))
    #expect(!StatusCommand.render(status).contains("frames"))
    status.frames.frames = 9
    status.frames.permitted = 6
    status.frames.blocked = 1
    status.frames.held = 2
    status.frames.heldNow = 1
    var port = PortReport(interface: "eth0", index: 2, direction: "inbound", diverting: true)
    port.diverted = 12
    port.permitted = 6
    port.dropped = 3
    port.overloaded = 4
    port.lost = ["ring-full": 2, "device-down": 1]
    let gone = PortReport(interface: "eth0", index: 2, direction: "outbound", diverting: false)
    status.ports = [port, gone]
    let table = """
      INTERFACE  DIRECTION  STATE     DIVERTED  PERMITTED  DROPPED  LOST  OVERLOAD  FORCED  LOST BY KIND
      eth0       inbound    diverted        12          6        3     3         4       0  1 device-down, 2 ring-full
      eth0       outbound   detached         0          0        0     0         0       0

      """
    let text = StatusCommand.render(status)
    #expect(text.hasSuffix("\n\n" + table))
    #expect(
      text.contains(
        "\nframes            9 met, 6 permitted, 1 blocked, 2 held, 1 held now\n"))
  }

  @Test func `queues are a table with numbers at the right`() {
    var queue = QueueReport(queue: 31000)
    queue.packets = 1_000_000
    queue.verdicts = 999_999
    queue.permitted = 999_998
    queue.blocked = 1
    queue.waiting = 1
    queue.maximumLength = 8192
    queue.queueDropped = 4
    queue.flushed = 2
    #expect(
      QueuesCommand.render([queue]) == """
        QUEUE  PACKETS  VERDICTS  PERMITTED  BLOCKED  PENDED  WAITING  LIMIT  LOST  ERRORS  LIVE
        31000  1000000    999999     999998        1       0        1   8192     6       0     0

        """)
    #expect(QueuesCommand.render([]) == "no queues\n")
  }

  @Test func `filters and callouts are tables`() {
    let filter = FilterReport(
      name: "outbound DNS", layer: "outbound-transport-v4", sublayer: "default", weight: 10,
      conditions: ["ip-protocol udp", "ip-remote-port 53"], action: "callout-unknown",
      callout: "dns", hits: 7, kernelHits: 30)
    #expect(
      FiltersCommand.render([filter]) == """
        NAME          LAYER                  SUBLAYER  WEIGHT  ACTION               HITS  IN KERNEL  CONDITIONS
        outbound DNS  outbound-transport-v4  default       10  callout-unknown dns     7         30  \
        ip-protocol udp, ip-remote-port 53

        """)
    let callout = CalloutReport(
      name: "dns", type: "tag", tag: "dns", filters: 1, packets: 7, bytes: 600, refused: 0)
    #expect(
      CalloutsCommand.render([callout]) == """
        NAME  TYPE  FILTERS  PACKETS  BYTES  REFUSED
        dns   tag         1        7    600        0

        """)
  }

  @Test func `an event is one line`() {
    let event = EventLine(
      time: 12_000_345_678, event: "context_removed", tag: "0x1", tagName: "dns",
      context: "0x2a", handle: 3, packetID: 4, queue: 31000, layer: "outbound-transport-v4",
      reason: "transmitted", certainty: "exact")
    #expect(
      EventsCommand.render(event)
        == "12.000345 context_removed transmitted dns=0x2a handle 3 packet 4 queue 31000 "
        + "outbound-transport-v4 exact")
  }

  @Test(
    arguments: [(ENOENT, 69), (ECONNREFUSED, 69), (EACCES, 77), (EPERM, 77), (EIO, 1)]
      as [(CInt, Int32)])
  func `exit codes tell why the daemon did not answer`(errno: CInt, code: Int32) {
    let error = SystemError("connect", errno: errno)
    #expect(ControlClient.exitCode(error).rawValue == code)
  }

  @Test func `exit codes follow the daemon's own refusals`() {
    #expect(ControlClient.exitCode(ControlFailure(.notPermitted, "")).rawValue == 77)
    #expect(ControlClient.exitCode(ControlFailure(.notRunning, "")).rawValue == 69)
    #expect(ControlClient.exitCode(ControlFailure(.policy, "")).rawValue == 1)
  }

  @Test func `options are read as documented`() throws {
    let command = try EventsCommand.parse(["--count", "3", "--tag", "dns", "--json"])
    #expect(command.count == 3)
    #expect(command.tag == "dns")
    #expect(command.options.json)
    #expect(command.options.socket == "/run/callout/control.sock")
    #expect(throws: (any Error).self) { try EventsCommand.parse(["--count", "-1"]) }
  }
}
