// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

/// A callout of one version of a policy, which counts the versions that are alive.
private final class VersionedCallout: Callout {
  private let body: ClassifyBody
  private let alive: Shared<Int>

  init(_ alive: Shared<Int>, _ body: @escaping ClassifyBody) {
    self.alive = alive
    self.body = body
    alive.change { $0 += 1 }
  }

  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    body(packet, &out)
  }

  deinit { alive.change { $0 -= 1 } }
}

extension NetnsTests {
  /// A policy that is replaced again and again while packets come.
  @Suite struct Reloads {
    private static let reloads = 500
    private static let queues = 2
    private static let fillers = 200
    private static let flows = 8

    /// What the callouts of all versions have met.
    private struct Met: Sendable {
      var packets = 0
      var latest = 0
      /// Asked by one version in the first sublayer and by another in the second.
      var mixed = 0
      /// Decided at POSTROUTING by an older version than at OUTPUT.
      var older = 0
      /// Decided by a newer one, as may be between two hooks.
      var newer = 0
      var unknown = 0
    }

    /// Two policies that take turns; both permit the datagrams, each by other filters.
    ///
    /// Odd versions permit them before a filter that blocks them; even ones have neither. A mixture
    /// loses packets, or has them met by callouts of two versions.
    private struct Versions {
      let tag: ContextTag
      let met: Shared<Met>
      let alive: Shared<Int>

      func policy(_ version: Int) -> FilterPolicy {
        let isOdd = version % 2 == 1
        let udp = Condition(.ipProtocol, .equal(17))
        var filters: [Filter] = []
        for layer in [Layer.outboundTransportV4, .outboundIPPacketV4] {
          filters += [
            Filter(
              name: "stamp", layer: layer, sublayer: "high", weight: .explicit(90),
              conditions: [udp], action: .calloutUnknown("stamp")),
            Filter(
              name: "check", layer: layer, sublayer: "low", weight: .explicit(90),
              conditions: [udp], action: .calloutInspection("check")),
            Filter(
              name: "last", layer: layer, sublayer: "low", weight: .explicit(1), conditions: [udp],
              action: isOdd ? .block : .permit),
          ]
          if isOdd {
            filters.append(
              Filter(
                name: "first", layer: layer, sublayer: "low", weight: .explicit(50),
                conditions: [udp, Condition(.ipRemotePort, .equal(7))], action: .permit))
          }
        }
        // Now and then the rules change too.
        if version % 10 == 0 {
          filters.append(Filter(name: "inbound", layer: .inboundTransportV4, action: .permit))
        }
        for number in 0..<Reloads.fillers {
          filters.append(
            Filter(
              name: "filler \(version).\(number)", layer: .outboundTransportV4, sublayer: "high",
              conditions: [udp, Condition(.ipRemotePort, .equal(UInt128(1000 + number)))],
              action: .block))
        }
        return FilterPolicy(
          sublayers: [
            Sublayer(name: "high", weight: 0x9000), Sublayer(name: "low", weight: 0x100),
          ],
          callouts: [
            callout("stamp", version) { packet, out in stamp(packet, version, &out) },
            callout("check", version) { packet, out in
              let stamped = (try? out.retrieve(tag)).map { $0 & 0xffff }
              met.change { if stamped != UInt64(version) { $0.mixed += 1 } }
              if packet.hook == .postrouting { _ = try? out.retrieve(tag, removing: true) }
            },
          ], filters: filters)
      }

      private func callout(
        _ name: String, _ version: Int, _ body: @escaping ClassifyBody
      ) -> CalloutRegistration {
        CalloutRegistration(name: name, revision: "\(version)", tags: [tag]) {
          VersionedCallout(alive, body)
        }
      }

      /// At OUTPUT the packet gets the version, at POSTROUTING that one's too.
      private func stamp(
        _ packet: borrowing ClassifiedPacket, _ version: Int, _ out: inout Classification
      ) {
        guard packet.hook == .postrouting else {
          met.change {
            $0.packets += 1
            $0.latest = max($0.latest, version)
          }
          return _ = try? out.associate(UInt64(version), with: tag)
        }
        let before = try? out.retrieve(tag, removing: true)
        met.change {
          switch before.map(Int.init) {
          case nil: $0.unknown += 1
          case let old? where old > version: $0.older += 1
          case let old? where old < version: $0.newer += 1
          default: break
          }
        }
        try? out.associate(UInt64(version), with: tag)
      }
    }

    private func residentKiB() throws -> Int {
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
      let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
      return Int(line?.split(whereSeparator: \.isWhitespace)[1] ?? "") ?? 0
    }

    @Test func `500 times replaced under load: nothing is lost, mixed or left behind`()
      async throws
    {
      try await withTopology { _ in
        for flow in 1..<Self.flows {
          let address = "10.9.1.\(2 + flow)"
          try Shell.run(
            """
            ip -n p1 addr add \(address)/24 dev b1
            ip neigh replace \(address) lladdr 02:00:00:00:01:02 dev a1 nud permanent
            """)
        }
        let bridge = makeBridge {
          $0.failurePolicy = .block
          $0.queueCount = UInt16(Self.queues)
          $0.maximumLength = 65_536
        }
        let versions = Versions(
          tag: bridge.makeTag(named: "version"), met: Shared(Met()), alive: Shared(0))
        let (isOver, sent) = (Shared(false), Shared(0))
        try await running(bridge, versions.policy(1)) {
          let receiver = Receiver(in: "p1", keeping: false)
          let senders = (0..<Self.flows).map { flow in
            Background {
              // The kernel chooses a queue by the addresses.
              let sender = Sender(to: "10.9.1.\(2 + flow)", flow: UInt32(flow), hasRoom: true)
              var next: UInt64 = 0
              while !isOver.value {
                // No more under way than the queues can take.
                guard sent.value < versions.met.value.packets + 1000 else {
                  usleep(200)
                  continue
                }
                sent.change { $0 += 20 }
                sender.send(count: 20, first: next)
                next += 20
              }
            }
          }
          var resident = 0
          for version in 2...Self.reloads + 1 {
            let before = versions.met.value.packets
            try await expectSoon { versions.met.value.packets > before + 40 }
            try await bridge.apply(versions.policy(version))
            if version == Self.reloads / 4 { resident = try residentKiB() }
          }
          try await expectSoon { versions.met.value.latest == Self.reloads + 1 }
          let grown = try residentKiB() - resident
          isOver.change { $0 = true }
          for sender in senders { sender.join() }
          try await expectSoon { receiver.count == sent.value }
          let met = versions.met.value
          #expect(met.packets == sent.value && receiver.contents.late == 0)
          #expect(met.mixed == 0 && met.older == 0 && met.unknown == 0, "\(met)")
          // Each policy takes more than 100 KiB.
          #expect(grown < 16_384, "\(grown) KiB in \(Self.reloads * 3 / 4) reloads")
          try await expectSoon { versions.alive.value == 2 * Self.queues }
          try await expectSoon { try await isQuiet(bridge) }
          let statistics = try await bridge.statistics()
          for queue in statistics.queues {
            #expect(
              queue.idsIssued > 0 && queue.idsIssued == queue.verdicts && queue.queueDropped == 0,
              "\(queue)")
          }
          try await expectAccounting(bridge)
          #expect(statistics.queues.map(\.idsIssued).reduce(0, +) == UInt64(2 * met.packets))
        }
        #expect(versions.alive.value == 0)
      }
    }
  }
}
