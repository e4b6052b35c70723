// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

private let udp = [Condition(.ipProtocol, .equal(17)), Condition(.ipRemotePort, .equal(7))]

private func kept(
  _ name: String, sublayer: String = "default", _ action: FilterAction = .block,
  flags: FilterFlags = []
) -> Filter {
  Filter(
    name: name, layer: .outboundTransportV4, sublayer: sublayer, conditions: udp, action: action,
    flags: flags.union(.persistent))
}

extension NetnsTests {
  /// Objects of sessions that outlive the process, on real packets.
  @Suite struct Persistence {
    private let folder = NSTemporaryDirectory() + "callout-\(UUID().uuidString)"
    private var path: String { folder + "/objects" }

    /// A topology and the file's folder, which go afterwards.
    private func withStore(_ body: (Topology) async throws -> Void) async throws {
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try await withTopology { topology in
        try topology.countDepartures()
        try await body(topology)
      }
    }

    private func keeper() -> Bridge {
      makeBridge {
        $0.failurePolicy = .block
        $0.objectStore = path
      }
    }

    /// How many of ten datagrams pass.
    private func passed(_ topology: Topology, _ bridge: Bridge) async throws -> Int {
      let before = try topology.departures()
      Sender(to: "10.9.1.2").send(count: 10)
      try await expectSoon { try await isQuiet(bridge) }
      return try topology.departures() - before
    }

    private func status(_ body: () async throws -> Void) async throws -> WFPStatus? {
      do {
        try await body()
        return .success
      } catch let error as BridgeError {
        return error.status
      }
    }

    @Test func `persistent objects meet packets after a restart, others do not`() async throws {
      try await withStore { topology in
        var keys: [ObjectKey] = []
        let first = keeper()
        try await running(first, FilterPolicy()) {
          let session = first.openSession()
          keys = try await session.transaction { transaction throws(EngineError) in
            try transaction.add(Provider(name: "p", isPersistent: true))
            try transaction.add(
              Sublayer(name: "high", weight: 0xffff, provider: "p", isPersistent: true))
            try transaction.add(
              Filter(name: "static", layer: .inboundTransportV4, action: .permit))
            return [try transaction.add(kept("cut off", sublayer: "high"))]
          }
          #expect(try await passed(topology, first) == 0)
          try await session.close()
        }
        #expect(first.objects.filters.count == 2)

        let second = keeper()
        try await running(second, FilterPolicy()) {
          // Nobody has opened a session yet.
          #expect(try await passed(topology, second) == 0)
          #expect(second.objects.filters.all.map(\.name) == ["cut off"])
          #expect(second.objects.filters.all.map(\.key) == keys)
          #expect(second.objects.providers.count == 1 && second.objects.sublayers.count == 1)
          try await second.openSession().deleteFilter(keys[0])
          #expect(try await passed(topology, second) == 10)
        }
        let third = keeper()
        try await running(third, FilterPolicy()) {
          let count = try await passed(topology, third)
          #expect(count == 10)
          #expect(third.objects.filters.count == 0 && third.objects.sublayers.count == 1)
        }
      }
    }

    @Test func `a kept filter blocks while its callout is not registered`() async throws {
      try await withStore { topology in
        let first = keeper()
        try await running(first, FilterPolicy()) {
          try await first.register(
            CalloutRegistration(name: "guest") { ClosureCallout { _, out in out.permit() } })
          let session = first.openSession()
          #expect(
            try await status { try await session.add(kept("ask", .calloutUnknown("guest"))) }
              == .lifetimeMismatch)
          try await session.transaction { transaction throws(EngineError) in
            try transaction.add(AddedCallout(name: "guest", isPersistent: true))
            try transaction.add(kept("ask", .calloutUnknown("guest")))
          }
          #expect(try await passed(topology, first) == 10)
        }
        let second = keeper()
        try await running(second, FilterPolicy()) {
          #expect(try await passed(topology, second) == 0)
          try await second.register(
            CalloutRegistration(name: "guest") { ClosureCallout { _, out in out.permit() } })
          #expect(try await passed(topology, second) == 10)
        }
      }
    }

    @Test func `what cannot be kept is not in force either`() async throws {
      try await withStore { topology in
        let bridge = keeper()
        try await running(bridge, FilterPolicy()) {
          let session = bridge.openSession()
          let key = try await session.add(kept("one"))
          #expect(try await passed(topology, bridge) == 0)
          let before = try String(contentsOfFile: path, encoding: .utf8)
          // A draft cannot take the place of a folder that is not empty, nor can that be renamed to.
          try FileManager.default.createDirectory(
            atPath: path + ".new/full", withIntermediateDirectories: true)
          #expect(
            try await status { try await session.deleteFilter(key) } == .transactionAborted)
          #expect(
            try await status { try await session.add(kept("two")) } == .transactionAborted)
          #expect(bridge.objects.filters.all.map(\.name) == ["one"])
          #expect(try String(contentsOfFile: path, encoding: .utf8) == before)
          #expect(try await passed(topology, bridge) == 0)
          // What is not kept needs no file.
          var brief = kept("brief")
          brief.flags = []
          let added = try await session.add(brief)
          try await session.deleteFilter(added)
          try FileManager.default.removeItem(atPath: path + ".new")

          // Written, but not to be put in place.
          try FileManager.default.removeItem(atPath: path)
          try FileManager.default.createDirectory(
            atPath: path + "/full", withIntermediateDirectories: true)
          #expect(
            try await status { try await session.deleteFilter(key) } == .transactionAborted)
          #expect(bridge.objects.filters.count == 1)
          #expect(try await passed(topology, bridge) == 0)
          #expect(try await bridge.statistics().isHealthy)
          try FileManager.default.removeItem(atPath: path)
          try await session.deleteFilter(key)
          #expect(FileManager.default.fileExists(atPath: path))
        }
      }
    }

    @Test func `a start that a kept object does not suit is refused, and takes nothing`()
      async throws
    {
      try await withStore { topology in
        let bands = FilterPolicy(sublayers: [Sublayer(name: "band", weight: 1)])
        let first = keeper()
        try await running(first, bands) {
          try await first.openSession().add(kept("cut off", sublayer: "band"))
          // Not while it is named.
          #expect(
            try await status { try await first.apply(FilterPolicy()) } == .sublayerNotFound)
          let other = keeper()
          await #expect(throws: BridgeError.self) { try await other.start(FilterPolicy()) }
        }
        let second = keeper()
        #expect(try await status { try await second.start(FilterPolicy()) } == .sublayerNotFound)
        #expect(try Shell.run("nft list tables").contains("inet callout") == false)
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        try whole.dropLast(9).write(to: URL(fileURLWithPath: path))
        chmod(path, 0o600)
        await #expect(throws: BridgeError.self) { try await second.start(bands) }
        try whole.write(to: URL(fileURLWithPath: path))
        chmod(path, 0o600)
        // Nothing of the failed starts is in the way.
        try await running(second, bands) {
          let count = try await passed(topology, second)
          #expect(count == 0)
        }
      }
    }

    @Test func `before the start, and in dynamic sessions, nothing is persistent`() async throws {
      try await withStore { _ in
        let bridge = keeper()
        let early = bridge.openSession()
        let tooEarly = try await status { try await early.add(kept("early")) }
        #expect(tooEarly == .invalidFlags)
        let open = try await early.begin()
        try await bridge.start(FilterPolicy())
        // It began without what the store keeps, and must not take it away.
        let late = try await status { try await open.commit() }
        let dynamic = bridge.openSession(SessionOptions(isDynamic: true))
        let brief = try await status { try await dynamic.add(kept("brief")) }
        try await dynamic.close()
        _ = await bridge.stop()
        #expect(late == .transactionAborted && brief == .dynamicSessionInProgress)
        #expect(!FileManager.default.fileExists(atPath: path))
      }
    }
  }
}
