// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import Testing

// Tags that frames bear through a bridge, and from and to the layers around it.
extension NetnsTests.VirtualSwitch {
  @Test(arguments: [1, 2] as [UInt16])
  func `F22: a tag from ingress is found at egress and at IP input, one from output at egress`(
    queues: UInt16
  ) async throws {
    try await withSwitch { _ in
      let found = Shared<[Layer: [UInt64]]>([:])
      let log = EventLog()
      let bridge = makeBridge {
        $0.lifecycle = .automatic
        $0.queueCount = queues
      }
      let tag = bridge.makeTag(named: "t")
      let notify = bridge.registerNotify("log") { log.note($0) }
      try await running(
        bridge,
        framePolicy(
          switchLayers + [.inboundTransportV4, .outboundTransportV4], tags: [tag],
          packets: { packet, out in
            if packet.layer == .outboundTransportV4 {
              try? out.associate(packet.sequence, with: tag, notify: notify)
            } else if let context = try? out.retrieve(tag) {
              found.change { $0[.inboundTransportV4, default: []].append(context) }
            }
          }
        ) { frame, out in
          guard let sequence = frame.sequence else { return }
          if frame.layer == .ingressVSwitchEthernet {
            try? out.associate(sequence, with: tag, notify: notify)
          } else if let context = try? out.retrieve(tag) {
            found.change { $0[.egressVSwitchEthernet, default: []].append(context) }
          }
        }
      ) {
        let receivers = [Receiver(in: "p2"), Receiver()]
        for number: UInt64 in 1...4 {
          let port = 4000 + UInt16(number)
          Sender(in: "p1", to: "10.9.1.3", from: port).send(number)
          Sender(in: "p1", to: "10.9.1.1", from: port).send(10 + number)
          Sender(to: "10.9.1.3", from: port).send(20 + number)
        }
        try await expectSoon { receivers.map(\.count) == [8, 4] && log.reasons().count == 12 }
        #expect(
          found.value.mapValues { $0.sorted() } == [
            .egressVSwitchEthernet: Array(1...4) + Array(21...24),
            .inboundTransportV4: Array(11...14),
          ])
        let ends = Dictionary(
          grouping: log.all.filter { $0.kind == .contextRemoved }, by: \.reason)
        #expect(
          ends.mapValues { Set($0.map { $0.context / 10 }) } == [
            .transmitted: [0, 2], .delivered: [1],
          ])
        #expect(
          log.all.filter { $0.context == 1 }.map(\.kind) == [
            .enteredNetIO, .vSwitchIngressComplete, .vSwitchEgressComplete, .exitNetIO,
            .sendComplete, .contextRemoved,
          ])
        #expect(try await bridge.statistics().tagging.copies == 0)
        try await expectAccounting(bridge)
      }
    }
  }

  @Test func `tags cross the MAC layers of ports and bridge, and those of the switch between`()
    async throws
  {
    try await withSwitch { _ in
      let found = Shared<[UInt64: [Layer]]>([:])
      let log = EventLog()
      let bridge = makeBridge {
        $0.lifecycle = .automatic
        $0.interfaces = ["a1", "a2", "br0"]
      }
      let tag = bridge.makeTag(named: "t")
      let notify = bridge.registerNotify("log") { log.note($0) }
      let macs: [Layer] = [.inboundMACFrameEthernet, .outboundMACFrameEthernet]
      try await running(
        bridge,
        framePolicy(
          switchLayers + macs + [.outboundTransportV4], tags: [tag],
          packets: { packet, out in try? out.associate(packet.sequence, with: tag, notify: notify)
          }
        ) { frame, out in
          guard let sequence = frame.sequence else { return }
          let layer = frame.layer
          if layer == .inboundMACFrameEthernet, (try? out.retrieve(tag)) == nil {
            try? out.associate(sequence, with: tag, notify: notify)
          } else if (try? out.retrieve(tag)) == sequence {
            found.change { $0[sequence, default: []].append(layer) }
          }
        }
      ) {
        let receivers = [Receiver(in: "p2"), Receiver()]
        Sender(in: "p1", to: "10.9.1.3").send(1)
        Sender(in: "p1", to: "10.9.1.1").send(2)
        Sender(to: "10.9.1.3").send(3)
        try await expectSoon { receivers.map(\.count) == [2, 1] && log.reasons().count == 3 }
        #expect(
          found.value == [
            1: switchLayers + [.outboundMACFrameEthernet],
            2: [.ingressVSwitchEthernet, .inboundMACFrameEthernet],
            3: [.outboundMACFrameEthernet, .egressVSwitchEthernet, .outboundMACFrameEthernet],
          ])
        #expect(try await bridge.statistics().tagging.copies == 0)
      }
    }
  }

  @Test func `F16: a flooded frame is a clone for each further port, with the context`()
    async throws
  {
    try await withSwitch { net in
      let copies = Shared<[SwitchedFrame]>([])
      let log = EventLog()
      let bridge = makeBridge { $0.lifecycle = .automatic }
      let tag = bridge.makeTag(named: "t")
      let notify = bridge.registerNotify("log") { log.note($0) }
      try await running(
        bridge,
        framePolicy(switchLayers, tags: [tag]) { frame, out in
          guard let sequence = frame.sequence else { return }
          if frame.layer == .ingressVSwitchEthernet {
            try? out.associate(sequence, with: tag, notify: notify)
          } else if (try? out.retrieve(tag)) == sequence {
            copies.change { $0.append(SwitchedFrame(frame)) }
          }
        }
      ) {
        Sender(in: "p1", to: "10.9.1.99").send(7)
        try await expectSoon { log.reasons().count == 1 }
        #expect(
          Set(copies.value.map(\.ports)) == [
            [net.port(1), net.port(2)], [net.port(1), net.port(3)],
          ])
        #expect(copies.value.map(\.isFurtherCopy) == [false, true])
        #expect(log.all.count { $0.kind == .clonedByNetIO } == 1)
        #expect(log.all.count { $0.kind == .vSwitchIngressComplete } == 1)
        #expect(log.all.count { $0.kind == .vSwitchEgressComplete } == 2)
        #expect(log.reasons() == [.transmitted])
        try await expectAccounting(bridge)
      }
    }
  }
}
