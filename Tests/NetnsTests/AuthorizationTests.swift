// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import PacketViews
import Testing

/// What a callout was asked at the authorization layers.
private struct Question: Sendable, Hashable {
  var layer: Layer
  var isFirstSegment: Bool
  var isReauthorization: Bool
  var userID: UInt32?
}

private func authorization(
  _ layers: [Layer], _ questions: Shared<[Question]>, revision: String = "",
  deleted: Shared<[UInt64]> = Shared([]), closed: Shared<[ClassifiedFlow]> = Shared([]),
  port: UInt16 = 8080, pended: PendedBody? = nil,
  _ body: @escaping ClassifyBody
) -> FilterPolicy {
  var registration = CalloutRegistration(name: "ale", revision: revision) {
    FlowCallout(
      deleted, flow: { flow, _ in closed.change { $0.append(flow) } }, pended: pended
    ) { packet, out in
      let question = Question(
        layer: packet.layer, isFirstSegment: packet.layout.tcpFlags == .syn,
        isReauthorization: out.isReauthorization, userID: packet.metadata.userID)
      questions.change { $0.append(question) }
      body(packet, &out)
    }
  }
  registration.readsSocketOwner = true
  return FilterPolicy(
    callouts: [registration],
    filters: layers.map { layer in
      Filter(
        name: layer.name, layer: layer,
        conditions: [
          Condition(
            layer.direction == .inbound ? .ipLocalPort : .ipRemotePort, .equal(UInt128(port)))
        ], action: .calloutTerminating("ale"))
    })
}

extension NetnsTests {
  /// Flows ask to be let through with their first packets.
  @Suite struct Authorization {
    @Test func `F70: the first segment is held, then permitted: the connection comes about`()
      async throws
    {
      try await withTopology { _ in
        let questions = Shared<[Question]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          authorization([.aleAuthConnectV4], questions) { _, out in
            out.hold(for: .milliseconds(200), thenPermit: true)
          }
        ) {
          let server = Stream.listen(in: "p1", port: 8080)
          let start = ContinuousClock.now
          let stream = Stream.connect(to: "10.9.1.2", port: 8080)
          #expect(ContinuousClock.now - start >= .milliseconds(200))
          #expect(stream?.send([1, 2, 3]) == true)
          try await expectSoon { try await isQuiet(bridge) }
          // Neither answers nor later segments ask.
          #expect(!questions.value.isEmpty && questions.value.allSatisfy(\.isFirstSegment))
          let pended = try await bridge.statistics().queues[0].pended
          #expect(pended == UInt64(questions.value.count))
          _ = server
        }
      }
    }

    @Test func `F70: the first segment is pended, then blocked: the connection fails`() async throws
    {
      try await withTopology { _ in
        let (questions, held) = (Shared<[Question]>([]), HeldPackets())
        let bridge = makeBridge()
        try await running(
          bridge,
          authorization([.aleAuthConnectV4], questions, pended: { held.keep($0) }) { _, out in
            out.pend()
          }
        ) {
          let server = Stream.listen(in: "p1", port: 8080)
          let attempt = Shared<Bool?>(nil)
          let client = Background {
            let stream = Stream.connect(to: "10.9.1.2", port: 8080, within: 1000)
            attempt.change { $0 = stream != nil }
          }
          try await expectSoon { held.count >= 1 }
          held.blockAll()
          client.join()
          held.blockAll()
          #expect(attempt.value == false)
          _ = server
        }
      }
    }

    @Test func `F70: after another policy a flow is authorized again, and cannot be pended then`()
      async throws
    {
      try await withTopology { _ in
        let (questions, held) = (Shared<[Question]>([]), HeldPackets())
        let bridge = makeBridge()
        let first = authorization([.aleAuthConnectV4], questions) { _, out in out.permit() }
        try await running(bridge, first) {
          let server = Stream.listen(in: "p1", port: 8080)
          let stream = try #require(Stream.connect(to: "10.9.1.2", port: 8080))
          stream.send([1])
          stream.send([2])
          try await expectSoon { try await isQuiet(bridge) }
          #expect(questions.value.count == 1 && !questions.value[0].isReauthorization)
          try await bridge.apply(
            authorization(
              [.aleAuthConnectV4], questions, revision: "2", pended: { held.keep($0) }
            ) { _, out in
              out.permit()
              out.pend()
            })
          stream.send([3])
          try await expectSoon { questions.value.count == 2 }
          #expect(questions.value[1].isReauthorization)
          stream.send([4])
          try await expectSoon { try await isQuiet(bridge) }
          #expect(held.count == 0 && questions.value.count == 2)
          #expect(try await bridge.statistics().queues[0].pended == 0)
          _ = server
        }
      }
    }

    @Test func `F70: a filter can tell a flow that is authorized again from a new one`()
      async throws
    {
      try await withTopology { _ in
        let bridge = makeBridge()
        let server = Stream.listen(in: "p1", port: 8080)
        var policy = FilterPolicy(filters: [
          Filter(
            name: "again", layer: .aleAuthConnectV4, weight: .explicit(2),
            conditions: [Condition(.flags, .flagsAllSet(ConditionFlags.reauthorize.rawValue))],
            action: .permit),
          Filter(name: "new", layer: .aleAuthConnectV4, weight: .explicit(1), action: .permit),
        ])
        try await running(bridge, policy) {
          let stream = try #require(Stream.connect(to: "10.9.1.2", port: 8080))
          stream.send([1])
          try await expectSoon { try await isQuiet(bridge) }
          #expect(try await bridge.statistics().filterHits == [0, 1])
          policy.filters[1].action = .block
          try await bridge.apply(policy)
          stream.send([2])
          try await expectSoon { try await bridge.statistics().filterHits == [1, 0] }
          stream.send([3])
          try await expectSoon { try await isQuiet(bridge) }
          #expect(try await bridge.statistics().filterHits == [1, 0])
        }
        _ = server
      }
    }

    @Test func `F74: the segment that opens a connection is there when connect is authorized`()
      async throws
    {
      try await withTopology { _ in
        let questions = Shared<[Question]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          authorization([.aleAuthConnectV4, .aleAuthRecvAcceptV4], questions) { _, out in
            out.permit()
          }
        ) {
          let servers = [Stream.listen(in: "p1", port: 8080), Stream.listen(port: 8080)]
          let out = Stream.connect(to: "10.9.1.2", port: 8080)
          let inward = Stream.connect(in: "p1", to: "10.9.1.1", port: 8080)
          #expect(out?.send([1]) == true && inward?.send([2]) == true)
          try await expectSoon { try await isQuiet(bridge) }
          // Once each: answers and later segments do not ask.
          #expect(
            questions.value == [
              Question(
                layer: .aleAuthConnectV4, isFirstSegment: true, isReauthorization: false, userID: 0),
              Question(
                layer: .aleAuthRecvAcceptV4, isFirstSegment: true, isReauthorization: false,
                userID: nil),
            ])
          _ = servers
        }
      }
    }

    @Test func `What is sent to this host itself asks both to connect and to be accepted`()
      async throws
    {
      try await withTopology { _ in
        let questions = Shared<[Question]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          authorization([.aleAuthConnectV4, .aleAuthRecvAcceptV4], questions) { _, out in
            out.permit()
          }
        ) {
          let server = Stream.listen(port: 8080)
          #expect(Stream.connect(to: "127.0.0.1", port: 8080)?.send([1]) == true)
          try await expectSoon { try await isQuiet(bridge) }
          #expect(questions.value.map(\.layer) == [.aleAuthConnectV4, .aleAuthRecvAcceptV4])
          _ = server
        }
      }
    }

    @Test func `A flow that was blocked asks again`() async throws {
      try await withTopology { _ in
        let questions = Shared<[Question]>([])
        let bridge = makeBridge()
        try await running(
          bridge,
          authorization([.aleAuthConnectV4], questions, port: 7) { packet, out in
            if packet.sequence < 2 { out.block() } else { out.permit() }
          }
        ) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 5)
          try await expectSoon { receiver.count == 3 }
          #expect(questions.value.count == 3)
        }
      }
    }

    @Test func `W9: FLOW_ASSOCIATION: what an established flow is given is there at other layers`()
      async throws
    {
      try await withTopology { _ in
        let (deleted, told) = (Shared<[UInt64]>([]), Shared<[ClassifiedFlow]>([]))
        let contexts = Shared<[Layer: Set<UInt64>]>([:])
        let bridge = makeBridge()
        let layers: [Layer] = [
          .aleFlowEstablishedV4, .aleEndpointClosureV4, .inboundTransportV4, .outboundTransportV4,
        ]
        var registration = CalloutRegistration(name: "flows") {
          FlowCallout(
            deleted,
            flow: { flow, out in
              told.change { $0.append(flow) }
              guard flow.layer == .aleFlowEstablishedV4 else { return }
              try? out.associateFlowContext(1000, at: .inboundTransportV4)
              try? out.associateFlowContext(2000, at: .outboundTransportV4)
            }
          ) { packet, out in
            let (layer, context) = (packet.layer, out.flowContext)
            contexts.change { _ = $0[layer, default: []].insert(context) }
          }
        }
        registration.followsFlows = true
        try await running(
          bridge,
          FilterPolicy(
            callouts: [registration],
            filters: layers.map {
              Filter(
                name: $0.name, layer: $0, conditions: [Condition(.ipProtocol, .equal(6))],
                action: .calloutInspection("flows"))
            })
        ) {
          let server = Stream.listen(in: "p1", port: 8080)
          let stream = try #require(Stream.connect(to: "10.9.1.2", port: 8080, from: 5005))
          try await expectSoon { told.value.count == 1 }
          let flow = try #require(told.value.first)
          #expect(flow.layer == .aleFlowEstablishedV4 && !flow.isInbound)
          #expect(flow.localAddress == IPAddress(10, 9, 1, 1) && flow.localPort == 5005)
          #expect(flow.remoteAddress == IPAddress(10, 9, 1, 2) && flow.remotePort == 8080)
          stream.send([1])
          try await expectSoon {
            contexts.value[.inboundTransportV4]?.contains(1000) == true
              && contexts.value[.outboundTransportV4]?.contains(2000) == true
          }
          // None but its own at each layer, and none before it was established.
          #expect(contexts.value[.inboundTransportV4]?.isSubset(of: [0, 1000]) == true)
          #expect(contexts.value[.outboundTransportV4]?.isSubset(of: [0, 2000]) == true)
          #expect(deleted.value == [])
          try Shell.run("conntrack -D -p tcp --sport 5005")
          try await expectSoon { deleted.value.sorted() == [1000, 2000] }
          #expect(told.value.map(\.layer) == [.aleFlowEstablishedV4, .aleEndpointClosureV4])
          #expect(told.value.last?.id == flow.id)
          _ = server
        }
        #expect(deleted.value.count == 2)
      }
    }

    enum Way: CaseIterable { case outward, inward }

    @Test(arguments: Way.allCases, [true, false])
    func `W10: PEND_AUTHORIZATION: connect and accept wait, then come about or not`(
      _ way: Way, _ permits: Bool
    ) async throws {
      try await withTopology { _ in
        let questions = Shared<[Question]>([])
        let bridge = makeBridge()
        let layer: Layer = way == .outward ? .aleAuthConnectV4 : .aleAuthRecvAcceptV4
        try await running(
          bridge,
          authorization([layer], questions) { _, out in
            out.hold(for: .milliseconds(100), thenPermit: permits)
          }
        ) {
          let (there, here) = way == .outward ? ("p1", nil) : (nil, "p1" as String?)
          let server = Stream.listen(in: there, port: 8080)
          let stream = Stream.connect(
            in: here, to: way == .outward ? "10.9.1.2" : "10.9.1.1", port: 8080,
            within: permits ? 5000 : 1500)
          #expect((stream != nil) == permits)
          #expect(questions.value.count >= 1)
          #expect(questions.value.allSatisfy { $0.layer == layer && !$0.isReauthorization })
          _ = server
        }
      }
    }
  }
}
