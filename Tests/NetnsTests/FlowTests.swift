// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Glibc
import PacketTagging
import PacketViews
import Testing

/// A callout of flows made of closures.
final class FlowCallout: Callout {
  private let body: ClassifyBody
  private let flowBody: @Sendable (ClassifiedFlow, inout Classification) -> Void
  private let pendedBody: PendedBody?
  private let deleted: Shared<[UInt64]>

  init(
    _ deleted: Shared<[UInt64]>,
    flow: @escaping @Sendable (ClassifiedFlow, inout Classification) -> Void = { _, _ in },
    pended: PendedBody? = nil, _ body: @escaping ClassifyBody
  ) {
    self.deleted = deleted
    self.body = body
    flowBody = flow
    pendedBody = pended
  }

  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    body(packet, &out)
  }
  override func classify(_ flow: ClassifiedFlow, _ out: inout Classification) {
    flowBody(flow, &out)
  }
  override func pended(_ packet: consuming PendedPacket) { pendedBody?(packet) }
  override func flowDeleted(layer: Layer, flowContext: UInt64) {
    deleted.change { $0.append(flowContext) }
  }
}

/// A policy of one callout that follows flows, at some layers.
private func flowPolicy(
  _ layers: [Layer], deleted: Shared<[UInt64]> = Shared([]), _ body: @escaping ClassifyBody
) -> FilterPolicy {
  var registration = CalloutRegistration(name: "flows") { FlowCallout(deleted, body) }
  registration.followsFlows = true
  return FilterPolicy(
    callouts: [registration],
    filters: layers.map { layer in
      Filter(
        name: layer.name, layer: layer,
        conditions: [Condition(.ipProtocol, .equal(6)), Condition(.ipProtocol, .equal(17))],
        action: .calloutUnknown("flows"))
    })
}

extension NetnsTests {
  /// Flows: what callouts hold on them, and what they are asked at their beginnings and ends.
  @Suite struct Flows {
    @Test func `F68: a flow bears one context for each layer, and flowDeleted tells its end once`()
      async throws
    {
      try await withTopology { _ in
        let (deleted, seen) = (Shared<[UInt64]>([]), Shared<[UInt64]>([]))
        let errors = Shared<[FlowError]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          flowPolicy([.outboundTransportV4], deleted: deleted) { packet, out in
            let context = out.flowContext
            seen.change { $0.append(context) }
            guard context == 0 else { return }
            do throws(FlowError) {
              do throws(FlowError) {
                try out.removeFlowContext()
              } catch { errors.change { $0.append(error) } }
              do throws(FlowError) {
                try out.associateFlowContext(0)
              } catch { errors.change { $0.append(error) } }
              try out.associateFlowContext(packet.sequence)
              try out.associateFlowContext(99)
            } catch { errors.change { $0.append(error) } }
          }
        ) {
          let receiver = Receiver(in: "p1")
          let (one, two) = (
            Sender(to: "10.9.1.2", from: 5001), Sender(to: "10.9.1.2", from: 5002)
          )
          one.send(count: 3, first: 100)
          two.send(count: 2, first: 200)
          try await expectSoon { receiver.count == 5 }
          #expect(seen.value == [0, 100, 100, 0, 200])
          let expected: [FlowError] = [.unsuccessful, .invalidParameter, .objectNameExists]
          #expect(errors.value == expected + expected)
          #expect(bridge.flowContexts(ofCallout: "flows") == 2)
          #expect(deleted.value == [])
          try Shell.run("conntrack -D -p udp --sport 5001")
          try await expectSoon { deleted.value == [100] }
          one.send(1)
          try await expectSoon { seen.value.count == 6 }
          #expect(seen.value.last == 0)
        }
        // The bridge's end is the end of all flows.
        #expect(deleted.value.sorted() == [1, 100, 200])
        #expect(try Shell.run("nft list ruleset") == "")
      }
    }

    @Test(arguments: [false, true])
    func `both directions are one flow, of either version`(isIPv6: Bool) async throws {
      try await withTopology { _ in
        let (flows, deleted) = (Shared<[Layer: Set<UInt64>]>([:]), Shared<[UInt64]>([]))
        let layers: [Layer] =
          isIPv6
          ? [.outboundTransportV6, .inboundTransportV6]
          : [.outboundTransportV4, .inboundTransportV4]
        let policy = flowPolicy(layers, deleted: deleted) { packet, out in
          let (layer, id) = (packet.layer, out.flowID)
          if out.flowContext == 0 { try? out.associateFlowContext(id ?? 0) }
          flows.change { _ = $0[layer, default: []].insert(id ?? 0) }
        }
        try await running(makeBridge(), policy) {
          let listener = Stream.listen(in: "p1", isIPv6: isIPv6, port: 8080)
          let address = isIPv6 ? "fd09:1::2" : "10.9.1.2"
          let stream = try #require(Stream.connect(to: address, port: 8080))
          #expect(stream.send([1, 2, 3]))
          try await expectSoon { flows.value.count == 2 }
          #expect(Set(flows.value.values.joined()).count == 1)
          try Shell.run("conntrack -D -p tcp --dport 8080 -f ipv\(isIPv6 ? 6 : 4)")
          try await expectSoon { deleted.value.count == 2 }
          #expect(Set(deleted.value) == flows.value.values.first)
          _ = listener
        }
      }
    }

    @Test func `flows end though the kernel told of their ends faster than they were read`()
      async throws
    {
      try await withTopology { _ in
        let (began, deleted) = (Shared(0), Shared<[UInt64]>([]))
        let policy = flowPolicy([.outboundTransportV4], deleted: deleted) { _, out in
          if (try? out.associateFlowContext(1)) != nil { began.change { $0 += 1 } }
        }
        let bridge = makeBridge { $0.flowEventBytes = 1 }
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          for port in 0..<2000 { Sender(to: "10.9.1.2", from: 20_000 + UInt16(port)).send(1) }
          try await expectSoon { receiver.count == 2000 }
          #expect(began.value == 2000)
          try await expectSoon { bridge.followedFlows == 2000 }
          try Shell.run("conntrack -F")
          try await expectSoon { deleted.value.count == 2000 }
          #expect(bridge.flowOverruns > 0)
        }
      }
    }

    @Test func `a translated flow ends in each form in which it is met`() async throws {
      try await withTopology { _ in
        try Shell.run(
          """
          nft 'table ip nat { chain out { type nat hook output priority -100; \
          udp dport 70 dnat to 10.9.1.2:7; }; }'
          """)
        let (forms, deleted) = (Shared<[UInt64: UInt16]>([:]), Shared<[UInt64]>([]))
        let policy = flowPolicy(
          [.outboundTransportV4, .outboundIPPacketV4], deleted: deleted
        ) { packet, out in
          guard let id = out.flowID else { return }
          if out.flowContext == 0 { try? out.associateFlowContext(id) }
          let port = packet.layout.destinationPort
          forms.change { $0[id] = port }
        }
        try await running(makeBridge(), policy) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2", port: 70)
          sender.send(count: 3)
          try await expectSoon { receiver.count == 3 }
          // Before the translation, and behind it.
          #expect(forms.value.values.sorted() == [7, 70])
          try Shell.run("conntrack -D -p udp --orig-port-dst 70")
          try await expectSoon { deleted.value.count == 2 }
          #expect(Set(deleted.value) == Set(forms.value.keys))
          try Shell.run("nft delete table ip nat")
        }
      }
    }

    @Test func `a bare SYN in a connection that lives ends none of its contexts`() async throws {
      try await withTopology { _ in
        let (deleted, seen) = (Shared<[UInt64]>([]), Shared<[UInt64]>([]))
        let watching = flowPolicy(
          [.inboundTransportV4, .outboundTransportV4], deleted: deleted
        ) { packet, out in
          if out.flowContext == 0 { try? out.associateFlowContext(77) }
          let context = out.flowContext
          if packet.layer == .inboundTransportV4 { seen.change { $0.append(context) } }
        }
        try await running(makeBridge(), watching) {
          let listener = Stream.listen(port: 8080)
          let opened = Stream.connect(in: "p1", to: "10.9.1.1", port: 8080, from: 4080)
          let stream = try #require(opened)
          try await expectSoon { seen.value.contains(77) }
          let before = seen.value.count
          // From port 4080 to 8080, sequence number 1, SYN.
          let ports: [UInt8] = [0x0f, 0xf0, 0x1f, 0x90]
          let head: [UInt8] = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 9, 1, 2, 10, 9, 1, 1]
          sendRaw(
            head + ports + [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x10, 0, 0, 0, 0, 0], in: "p1")
          try await expectSoon { seen.value.count > before }
          let after = seen.value.count
          #expect(stream.send([1]))
          try await expectSoon { seen.value.count > after }
          #expect(seen.value.last == 77 && deleted.value == [])
          withExtendedLifetime(listener) {}
        }
      }
    }

    @Test func `F69: a callout with live flow contexts cannot go, after their removal it can`()
      async throws
    {
      try await withTopology { _ in
        let deleted = Shared<[UInt64]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          flowPolicy([.outboundTransportV4], deleted: deleted) { packet, out in
            try? out.associateFlowContext(packet.sequence)
          }
        ) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(7)
          Sender(to: "10.9.1.2").send(8)
          try await expectSoon { receiver.count == 2 }
          let other = policy([.outboundTransportV4]) { _, _ in }
          do {
            try await bridge.apply(other)
            Issue.record("applied")
          } catch BridgeError.calloutBusy(let name, let contexts) {
            #expect(name == "flows" && contexts == 2)
          }
          #expect(deleted.value == [])
          #expect(bridge.removeFlowContexts(ofCallout: "flows") == 2)
          #expect(deleted.value.sorted() == [7, 8])
          try await bridge.apply(other)
        }
        #expect(deleted.value.count == 2)
      }
    }

    @Test func `A callout that is conditional on flows is asked only of those with its context`()
      async throws
    {
      try await withTopology { _ in
        let asked = Shared<[UInt64]>([])
        let bridge = makeBridge()
        var policy = flowPolicy([.datagramDataV4]) { packet, out in
          if packet.sequence >= 100 {
            try? out.associateFlowContext(packet.sequence, at: .outboundTransportV4)
          }
        }
        var conditional = CalloutRegistration(name: "conditional") {
          ClosureCallout { packet, out in
            let context = out.flowContext
            asked.change { $0.append(context) }
          }
        }
        conditional.isConditionalOnFlow = true
        policy.callouts.append(conditional)
        policy.filters.append(
          Filter(
            name: "conditional", layer: .outboundTransportV4,
            action: .calloutTerminating("conditional")))
        // Contexts are each callout's own, so the conditional one is never asked, and blocks nothing.
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          Sender(to: "10.9.1.2").send(count: 2)
          Sender(to: "10.9.1.2").send(count: 2, first: 100)
          try await expectSoon { receiver.count == 4 }
          #expect(asked.value == [])
        }
      }
    }

    @Test func `A released flow is not shown to the callout again, until the policy changes`()
      async throws
    {
      try await withTopology { _ in
        let (first, second) = (Shared<[UInt64]>([]), Shared<[UInt64]>([]))
        let bridge = makeBridge()
        var policy = flowPolicy([.outboundTransportV4]) { packet, out in
          let sequence = packet.sequence
          first.change { $0.append(sequence) }
          if sequence % 10 == 1 { out.permitRestOfFlow() }
        }
        var limited = CalloutRegistration(name: "limited") {
          ClosureCallout { packet, out in
            let sequence = packet.sequence
            second.change { $0.append(sequence) }
            out.permit()
          }
        }
        limited.packetsPerFlow = 3
        policy.callouts.append(limited)
        policy.sublayers.append(Sublayer(name: "low", weight: 1))
        policy.filters.append(
          Filter(
            name: "limited", layer: .outboundTransportV4, sublayer: "low",
            conditions: [Condition(.ipRemotePort, .equal(7))],
            action: .calloutTerminating("limited")))
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 6)
          try await expectSoon { receiver.count == 6 }
          #expect(first.value == [0, 1])
          #expect(second.value == [0, 1, 2])
          // Another flow is another matter.
          Sender(to: "10.9.1.2").send(count: 5, first: 20)
          try await expectSoon { receiver.count == 11 }
          #expect(first.value == [0, 1, 20, 21])
          #expect(second.value == [0, 1, 2, 20, 21, 22])
          try await bridge.apply(policy)
          sender.send(count: 2, first: 30)
          try await expectSoon { receiver.count == 13 }
          #expect(first.value.suffix(2) == [30, 31])
        }
      }
    }

    private func markOfFlow(from port: Int) throws -> Int {
      let text = try Shell.run("conntrack -L -p udp --sport \(port) 2>/dev/null")
      let word = text.split(separator: " ").first { $0.hasPrefix("mark=") }
      return try #require(word.flatMap { Int($0.dropFirst(5)) })
    }

    @Test func `A flow that every callout has released is marked in the kernel, and no other`()
      async throws
    {
      try await withTopology { _ in
        let bridge = makeBridge { $0.flowBypass = .mask(0x00ff_0000) }
        var policy = flowPolicy([.outboundTransportV4]) { packet, out in
          if packet.sequence == 1 { out.permitRestOfFlow() }
        }
        policy.callouts.append(CalloutRegistration(name: "never") { ClosureCallout { _, _ in } })
        policy.filters.append(
          Filter(
            name: "never", layer: .outboundTransportV4,
            conditions: [Condition(.ipRemotePort, .equal(9))], action: .calloutInspection("never")))
        try await running(bridge, policy) {
          let (seven, nine) = (Receiver(in: "p1", port: 7), Receiver(in: "p1", port: 9))
          for port: UInt16 in [7, 9] {
            Sender(to: "10.9.1.2", port: port, from: 5000 + port).send(count: 3)
          }
          try await expectSoon { seven.count == 3 && nine.count == 3 }
          try await expectSoon { bridge.releasedFlows == 1 }
          let first = try markOfFlow(from: 5007)
          #expect(first & 0xff0000 != 0 && first & ~0xff0000 == 0)
          #expect(try markOfFlow(from: 5009) == 0)
          try await bridge.apply(policy)
          Sender(to: "10.9.1.2", from: 5107).send(count: 2)
          try await expectSoon { bridge.releasedFlows == 2 }
          let second = try markOfFlow(from: 5107)
          #expect(second & 0xff0000 != 0 && second != first)
        }
      }
    }

    @Test func `A flow that is aborted passes nothing more`() async throws {
      try await withTopology { _ in
        let deleted = Shared<[UInt64]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          flowPolicy([.outboundTransportV4, .inboundTransportV4], deleted: deleted) { packet, out in
            try? out.associateFlowContext(5)
            if packet.sequence == 2 { try? out.abortFlow() }
          }
        ) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2", from: 5003)
          sender.send(count: 6)
          Sender(to: "10.9.1.2").send(0)
          try await expectSoon { receiver.count == 3 }
          #expect(deleted.value == [5])
          try await expectSoon { try await bridge.statistics().queues[0].blocked == 4 }
        }
      }
    }
  }
}
