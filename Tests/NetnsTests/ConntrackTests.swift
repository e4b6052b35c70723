// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import ConnectionTracking
import Glibc
import PacketViews
import Testing

extension NetnsTests {
  /// The kernel's connections as we read and change them.
  @Suite(.serialized) struct Conntrack {
    private static let table = "conntrack_test"

    /// Takes events until one of a UDP connection to that port is `wanted`.
    private func next(
      _ watcher: inout ConntrackWatcher, port: UInt16, _ wanted: (ConntrackEvent) -> Connection?
    ) throws -> Connection? {
      for _ in 0..<2000 {
        while let event = try watcher.next() {
          if let found = wanted(event), found.original.destinationPort == port { return found }
        }
        usleep(5000)
      }
      return nil
    }

    @Test func `A connection is told of from its first packet to its end`() throws {
      try ConntrackUse.begin(table: Self.table)
      defer { _ = try? ConntrackUse.end(table: Self.table) }
      // Twice is once.
      try ConntrackUse.begin(table: Self.table)
      var watcher = try ConntrackWatcher()
      let server = DatagramSocket(port: 7101)
      let client = DatagramSocket(port: 7102)
      client.send([1], to: "127.0.0.1", port: 7101)
      #expect(server.receive() == [1])
      let began = try #require(
        try next(&watcher, port: 7101) { if case .began(let c) = $0 { c } else { nil } })
      #expect(began.original.sourcePort == 7102)
      #expect(began.original.transportProtocol == .udp)
      #expect(began.status.contains(.confirmed))
      server.send([2], to: "127.0.0.1", port: 7102)
      #expect(client.receive() == [2])
      let changed = try #require(
        try next(&watcher, port: 7101) { if case .changed(let c) = $0 { c } else { nil } })
      #expect(changed.id == began.id && changed.status.contains(.seenReply))

      var socket = try ConntrackSocket()
      try socket.setMark(0xff00_0005, mask: 0xff, of: began.original)
      try socket.setMark(0x0000_a000, mask: 0xff00, of: began.reply)
      let found = try socket.connection(of: began.original)
      #expect(found.id == began.id && found.mark == 0xa005)

      try socket.delete(began.original)
      let ended = try #require(
        try next(&watcher, port: 7101) { if case .ended(let c) = $0 { c } else { nil } })
      #expect(ended.id == began.id)
      #expect(throws: ConntrackError.notFound) { try socket.connection(of: began.original) }
      #expect(throws: ConntrackError.notFound) {
        try socket.setMark(1, mask: 1, of: began.original)
      }
    }

    @Test func `Nothing is tracked without a use, and the use leaves nothing`() throws {
      let client = DatagramSocket(port: 7104)
      let tuple = ConntrackTuple(
        source: IPAddress(127, 0, 0, 1), destination: IPAddress(127, 0, 0, 1),
        transportProtocol: .udp, sourcePort: 7104, destinationPort: 7103)
      var socket = try ConntrackSocket()
      client.send([1], to: "127.0.0.1", port: 7103)
      #expect(throws: ConntrackError.notFound) { try socket.connection(of: tuple) }
      try ConntrackUse.begin(table: Self.table)
      client.send([1], to: "127.0.0.1", port: 7103)
      #expect(try socket.connection(of: tuple).original == tuple)
      #expect(try socket.connection(of: tuple.reversed).original == tuple)
      try ConntrackUse.end(table: Self.table)
      try ConntrackUse.end(table: Self.table)
      #expect(try Shell.run("nft list ruleset") == "")
    }
  }
}
