// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

/// The path of the program that runs this test, and of Python.
private let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
private func python() throws -> String {
  try Shell.run("readlink -f /usr/bin/python3").trimmingCharacters(in: .whitespacesAndNewlines)
}

/// Has Python connect, or send a datagram, and keep the socket until it has been found; false if it
/// cannot.
private func connects(
  _ kind: String, to address: String, port: Int = 8080, in namespace: String? = nil
) -> Bool {
  let family = address.contains(":") ? "AF_INET6" : "AF_INET"
  let patience = kind == "DGRAM" ? 2 * slowness : 1
  let script =
    "import socket; s = socket.socket(socket.\(family), socket.SOCK_\(kind)); s.settimeout(1.5); "
    + "s.connect((\"\(address)\", \(port))); s.send(bytes(16)); s.settimeout(\(patience))\n"
    + "try: s.recv(1)\nexcept TimeoutError: pass"
  let place = namespace.map { "ip netns exec \($0) " } ?? ""
  return (try? Shell.run("\(place)/usr/bin/python3 -c '\(script)'")) != nil
}

private func blocking(
  _ conditions: [Condition], at layer: Layer = .aleAuthConnectV4
) -> FilterPolicy {
  FilterPolicy(filters: [
    Filter(name: "program", layer: layer, conditions: conditions, action: .block)
  ])
}

extension NetnsTests {
  /// The programs whose sockets packets belong to.
  @Suite struct Processes {
    @Test(arguments: [false, true])
    func `A program is kept from connecting, others are not`(isIPv6: Bool) async throws {
      try await withTopology { _ in
        let address = isIPv6 ? "fd09:1::2" : "10.9.1.2"
        let bridge = makeBridge()
        let layer: Layer = isIPv6 ? .aleAuthConnectV6 : .aleAuthConnectV4
        let policy = blocking([Condition(.aleAppID, equals: try python())], at: layer)
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1", isIPv6: isIPv6)
          let server = try Shell.start(
            "ip netns exec p1 socat TCP\(isIPv6 ? 6 : 4)-LISTEN:8080,fork,reuseaddr /dev/null")
          defer { server.stop() }
          try await expectSoon {
            try Shell.run("ip netns exec p1 ss -Hltn 'sport = 8080'") != ""
          }
          #expect(!connects("STREAM", to: address))
          let blocked = try await bridge.statistics().filterHits[0]
          #expect(blocked >= 1)
          // What is queued counts as sent.
          _ = connects("DGRAM", to: address, port: 7)
          try await expectSoon { try await bridge.statistics().filterHits[0] == blocked + 1 }
          #expect(receiver.count == 0)
          // This program itself, and curl.
          Sender(to: address).send(count: 5)
          try await expectSoon { receiver.count == 5 }
          let host = isIPv6 ? "[\(address)]" : address
          #expect(
            try Shell.run("curl -s -o /dev/null -m 5 http://\(host):8080/ || echo $?")
              .contains("52"))
          #expect(try await bridge.statistics().filterHits[0] == blocked + 1)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `Programs are told by the beginning of their paths, and by what they are not`()
      async throws
    {
      try await withTopology { _ in
        let bridge = makeBridge()
        let beginning = String(try python().dropLast(3))
        let policies = [
          blocking([Condition(.aleAppID, beginsWith: beginning)]),
          blocking([Condition(.aleAppID, .blob(.notPrefix(Array(beginning.utf8))))]),
          blocking([
            Condition(.aleAppID, equals: "/bin/no"), Condition(.aleAppID, equals: try python()),
          ]),
          blocking([Condition(.aleAppID, .blob(.notEqual(Array(try python().utf8))))]),
        ]
        let server = Stream.listen(in: "p1", port: 8080)
        try await running(bridge, policies[0]) {
          for (number, policy) in policies.enumerated() {
            try await bridge.apply(policy)
            let isPythonBlocked = number % 2 == 0
            #expect(connects("STREAM", to: "10.9.1.2") != isPythonBlocked, "\(number)")
            let own = Stream.connect(to: "10.9.1.2", port: 8080, within: 1500)
            #expect((own == nil) != isPythonBlocked, "\(number)")
          }
        }
        _ = server
      }
    }

    @Test func `A program is kept from being connected to, others are not`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let policy = blocking(
          [Condition(.aleAppID, equals: try python())], at: .aleAuthRecvAcceptV4)
        try await running(bridge, policy) {
          let server = try Shell.start("/usr/bin/python3 -m http.server 8080")
          defer { server.stop() }
          try await expectSoon { try Shell.run("ss -Hltn 'sport = 8080'") != "" }
          let other = Stream.listen(port: 8081)
          #expect(Stream.connect(in: "p1", to: "10.9.1.1", port: 8080, within: 1500) == nil)
          #expect(Stream.connect(in: "p1", to: "10.9.1.1", port: 8081) != nil)
          // Nobody's: refused by the stack, not by the filter.
          #expect(Stream.connect(in: "p1", to: "10.9.1.1", port: 8082) == nil)
          _ = other
        }
      }
    }

    @Test func `A callout reads who has the flow, and only at the layers of authorization`()
      async throws
    {
      try await withTopology { _ in
        let seen = Shared<[Layer: Set<FlowProcess?>]>([:])
        let ids = Shared<Set<UInt32?>>([])
        let bridge = makeBridge()
        let layers: [Layer] = [.aleAuthConnectV4, .aleAuthRecvAcceptV4, .inboundTransportV4]
        var policy = policy(layers, protocolNumber: 6) { packet, out in
          let (layer, process, id) = (packet.layer, out.process, packet.metadata.processID)
          let isTold = packet.metadataFields.isSuperset(of: [.processID, .processPath])
          seen.change { _ = $0[layer, default: []].insert(process) }
          if isTold { ids.change { _ = $0.insert(id) } }
        }
        policy.callouts[0].readsProcess = true
        try await running(bridge, policy) {
          let process = FlowProcess(
            id: UInt32(getpid()), path: try #require(own))
          let servers = [Stream.listen(in: "p1", port: 8080), Stream.listen(port: 8081)]
          let stream = try #require(Stream.connect(to: "10.9.1.2", port: 8080))
          #expect(stream.send([1]))
          #expect(Stream.connect(in: "p1", to: "10.9.1.1", port: 8081) != nil)
          try await expectSoon { seen.value.count == 3 }
          #expect(seen.value[.aleAuthConnectV4] == [process])
          #expect(seen.value[.aleAuthRecvAcceptV4] == [process])
          // Answers and later segments have not been looked up.
          #expect(seen.value[.inboundTransportV4]?.contains(nil) == true)
          #expect(ids.value == [process.id])
          _ = servers
        }
      }
    }

    @Test func `The packets of many flows all wait for their programs, and keep their order`()
      async throws
    {
      try await withTopology { _ in
        let bridge = makeBridge { $0.queueCount = 2 }
        var policy = blocking([Condition(.aleAppID, equals: "/bin/no")])
        policy.filters.append(
          Filter(
            name: "own", layer: .aleAuthConnectV4, sublayer: "default",
            weight: .explicit(1), conditions: [Condition(.aleAppID, equals: try #require(own))],
            action: .permit))
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          let senders = (0..<100).map { Sender(to: "10.9.1.2", flow: UInt32($0)) }
          for number in 0..<10 as Range<UInt64> { for sender in senders { sender.send(number) } }
          try await expectSoon { receiver.count == 1000 }
          #expect(receiver.contents.late == 0)
          let statistics = try await bridge.statistics()
          #expect(statistics.filterHits[1] == 100)
          #expect(statistics.queues.allSatisfy { $0.pendedNow == 0 })
          try await expectAccounting(bridge)
          _ = senders
        }
      }
    }

    @Test func `Only first packets that may be asked about wait`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        let policy = blocking([
          Condition(.aleAppID, equals: try #require(own)), Condition(.ipRemotePort, .equal(7)),
        ])
        try await running(bridge, policy) {
          let (receiver, other) = (Receiver(in: "p1"), Receiver(in: "p1", port: 8))
          Sender(to: "10.9.1.2", port: 8).send(count: 5)
          try await expectSoon { other.count == 5 }
          #expect(try await bridge.statistics().queues[0].awaitedProcesses == 0)
          // What is closed before it is found is nobody's.
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 1)
          try await expectSoon { try await bridge.statistics().filterHits[0] == 1 }
          #expect(try await bridge.statistics().queues[0].awaitedProcesses == 1)
          #expect(receiver.count == 0)
          _ = sender
        }
      }
    }

    @Test func `Packets of nobody match no program, and wait for none in vain`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        var policy = blocking([Condition(.aleAppID, beginsWith: "/")], at: .aleAuthRecvAcceptV4)
        policy.filters.append(
          Filter(
            name: "other", layer: .aleAuthRecvAcceptV4,
            conditions: [Condition(.aleAppID, .blob(.notPrefix(Array("/".utf8))))],
            action: .block))
        try await running(bridge, policy) {
          Sender(in: "p1", to: "10.9.1.1", port: 9999).send(count: 3)
          try Shell.run("ip netns exec p1 ping -c 2 -i 0.2 10.9.1.1")
          try await expectSoon { try await bridge.statistics().queues[0].permitted >= 5 }
          let statistics = try await bridge.statistics()
          #expect(statistics.filterHits == [0, 0] && statistics.queues[0].blocked == 0)
          try await expectAccounting(bridge)
        }
      }
    }

    @Test func `After another policy the program of a flow that lives is asked for`() async throws {
      try await withTopology { _ in
        let bridge = makeBridge()
        try await running(bridge, blocking([Condition(.ipRemotePort, .equal(1))])) {
          let receiver = Receiver(in: "p1")
          let sender = Sender(to: "10.9.1.2")
          sender.send(count: 3)
          try await expectSoon { receiver.count == 3 }
          try await bridge.apply(blocking([Condition(.aleAppID, equals: try #require(own))]))
          sender.send(count: 3, first: 3)
          try await expectSoon { try await bridge.statistics().filterHits[0] == 3 }
          #expect(receiver.count == 3)
        }
      }
    }

    @Test(arguments: [FailurePolicy.permit, .block])
    func `A packet whose program is not found in time has none, and fails closed if all does`(
      _ failure: FailurePolicy
    ) async throws {
      try await withTopology { _ in
        let bridge = makeBridge { configuration in
          configuration.pendDeadline = .nanoseconds(1)
          configuration.failurePolicy = failure
        }
        // Found in time it is blocked under `permit` and permitted under `block`.
        var policy = blocking([Condition(.aleAppID, equals: try #require(own))])
        if failure == .block { policy.filters[0].action = .permit }
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          var senders: [Sender] = []
          try await expectSoon {
            senders.append(Sender(to: "10.9.1.2"))
            senders.last?.send(count: 1)
            let statistics = try await bridge.statistics()
            return switch failure {
            case .permit: receiver.count > 0
            case .block: statistics.queues[0].failurePolicyApplied > 0
            }
          }
          try await expectSoon { try await isQuiet(bridge) }
          let statistics = try await bridge.statistics()
          #expect(statistics.queues[0].pendedNow == 0)
          if failure == .block {
            let sent = statistics.queues[0].packets
            #expect(statistics.queues[0].failurePolicyApplied + statistics.filterHits[0] == sent)
          }
        }
      }
    }
  }
}
