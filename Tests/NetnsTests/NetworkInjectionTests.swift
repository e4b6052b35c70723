// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Synchronization
import Testing

extension NetnsTests {
  /// IP packets that a caller gives to a bridge, both ways and in both families.
  @Suite struct NetworkInjection {
    private func layers(_ isIPv6: Bool) -> (output: Layer, post: Layer, pre: Layer, input: Layer) {
      isIPv6
        ? (.outboundTransportV6, .outboundIPPacketV6, .inboundIPPacketV6, .inboundTransportV6)
        : (.outboundTransportV4, .outboundIPPacketV4, .inboundIPPacketV4, .inboundTransportV4)
    }

    private func handle(_ bridge: Bridge, _ isIPv6: Bool) throws -> InjectionHandle {
      try bridge.makeInjectionHandle(kinds: .network, family: isIPv6 ? .ipv6 : .ipv4)
    }

    /// What was learned of packets where they were met.
    private struct Met: Sendable, Hashable, CustomStringConvertible {
      var number: UInt64
      var hook: Hook
      var state: InjectionState
      var context: UInt64?
      var description: String { "\(number) \(hook) \(state) \(context ?? 0)" }
    }

    @Test(arguments: [false, true])
    func `F49: an invented packet is sent, and known at the layers that it comes by`(
      _ isIPv6: Bool
    ) async throws {
      try await withTopology { _ in
        let (ends, layers) = (PacketEnds(isIPv6: isIPv6), layers(isIPv6))
        let bridge = makeBridge()
        let (one, two) = (try handle(bridge, isIPv6), try handle(bridge, isIPv6))
        let (met, other, ended) = (Shared<[Met]>([]), Shared<[InjectionState]>([]), Completions())
        let policy = policy([layers.output, layers.post]) { packet, out in
          let (state, context) = out.injectionState(for: one)
          met.change {
            $0.append(
              Met(number: packet.sequence, hook: packet.hook, state: state, context: context))
          }
          other.change { $0.append(out.injectionState(for: two).state) }
        }
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1", isIPv6: isIPv6)
          Sender(to: isIPv6 ? "fd09:1::2" : "10.9.1.2").send(1)
          try await expectSoon { met.value.count == 2 }
          let bytes = ends.packet(2, to: ends.peer, from: ends.host)
          let outcome = bridge.injectNetworkSend(
            .invented(bytes), with: one, context: 77, completion: ended.note)
          #expect(refusal(outcome) == nil)
          try await expectSoon { receiver.count == 2 && ended.segments.count == 1 }
          #expect(receiver.contents.sequences == [1, 2])
          #expect(ended.statuses == [.success])
          #expect(
            met.value.map(\.description) == [
              "1 output notInjected 0", "1 postrouting notInjected 0",
              "2 output injectedBySelf 77", "2 postrouting injectedBySelf 77",
            ])
          #expect(
            other.value == [.notInjected, .notInjected, .injectedByOther, .injectedByOther])
          try await expectAccounting(bridge)
          await one.destroy()
        }
      }
    }

    @Test(arguments: [false, true])
    func `F49: an invented packet is received, and known at the layers that it comes by`(
      _ isIPv6: Bool
    ) async throws {
      try await withTopology { _ in
        let (ends, layers) = (PacketEnds(isIPv6: isIPv6), layers(isIPv6))
        let bridge = injectingBridge()
        let handle = try handle(bridge, isIPv6)
        let (met, ended) = (Shared<[Met]>([]), Completions())
        let device = try index(of: "a1")
        let policy = framePolicy(
          [.inboundMACFrameEthernet, layers.pre, layers.input],
          packets: { packet, out in
            let (state, context) = out.injectionState(for: handle)
            met.change {
              $0.append(
                Met(number: packet.sequence, hook: packet.hook, state: state, context: context))
            }
          }
        ) { _, _ in }
        try await running(bridge, policy) {
          let receiver = Receiver(isIPv6: isIPv6)
          let outcome = bridge.injectNetworkReceive(
            .invented(ends.packet(4, to: ends.host, from: ends.peer)), with: handle, context: 44,
            interface: device, completion: ended.note)
          #expect(refusal(outcome) == nil)
          try await expectSoon { receiver.count == 1 && ended.statuses == [.success] }
          #expect(receiver.contents.sequences == [4])
          #expect(
            met.value.map(\.description) == [
              "4 prerouting injectedBySelf 44", "4 input injectedBySelf 44",
            ])
        }
      }
    }

    @Test func `a packet is received by an interface whose address has changed`() async throws {
      try await withTopology { _ in
        let (ends, bridge) = (PacketEnds(isIPv6: false), injectingBridge())
        let handle = try handle(bridge, false)
        let device = try index(of: "a1")
        let policy = framePolicy([.inboundMACFrameEthernet]) { _, _ in }
        try await running(bridge, policy) {
          let receiver = Receiver()
          try Shell.run("ip link set a1 address 02:00:00:00:01:99")
          // The bridge learns of it after a while; from then on the host takes what is injected.
          try await expectSoon {
            let outcome = bridge.injectNetworkReceive(
              .invented(ends.packet(4, to: ends.host, from: ends.peer)), with: handle,
              interface: device, completion: { _ in })
            return refusal(outcome) == nil && receiver.count > 0
          }
        }
      }
    }

    @Test(arguments: [false, true])
    func `a clone is sent, its contexts with it, and its sending completed`(
      _ isIPv6: Bool
    ) async throws {
      try await withTopology { _ in
        let layers = layers(isIPv6)
        let bridge = makeBridge()
        let handle = try handle(bridge, isIPv6)
        let tag = bridge.makeTag(named: "t")
        let (found, log, ended) = (Shared<[String]>([]), EventLog(), Completions())
        let notify = bridge.registerNotify("log") { log.note($0) }
        let policy = policy([layers.output, layers.post], tags: [tag], needs: .wholePacket) {
          packet, out in
          let (state, context) = out.injectionState(for: handle)
          let carried = (try? out.retrieve(tag)) ?? 0
          found.change { $0.append("\(packet.hook) \(state) \(context ?? 0) bears \(carried)") }
          guard packet.hook == .output, !state.isOwn else { return }
          try? out.associate(5, with: tag, notify: notify)
          guard var clone = try? out.clone(packet) else { return }
          try? out.move(tag, to: &clone)
          out.absorb()
          let outcome = bridge.injectNetworkSend(
            .clone(clone), with: handle, context: 6, completion: ended.note)
          if let error = refusal(outcome) { found.change { $0.append("\(error)") } }
        }
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1", isIPv6: isIPv6)
          Sender(to: isIPv6 ? "fd09:1::2" : "10.9.1.2").send(1)
          try await expectSoon { receiver.count == 1 && ended.segments.count == 1 }
          #expect(ended.statuses == [.success])
          #expect(
            found.value == [
              "output notInjected 0 bears 0", "output injectedBySelf 6 bears 5",
              "postrouting injectedBySelf 6 bears 5",
            ])
          try await expectSoon { log.reasons() == [.movedToClone, .released] }
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
        }
      }
    }

    @Test(arguments: [false, true])
    func `a clone is received, its contexts with it`(_ isIPv6: Bool) async throws {
      try await withTopology { _ in
        let layers = layers(isIPv6)
        let bridge = injectingBridge { $0.lifecycle = .verdicts }
        let handle = try handle(bridge, isIPv6)
        let tag = bridge.makeTag(named: "t")
        let (found, log, ended) = (Shared<[String]>([]), EventLog(), Completions())
        let notify = bridge.registerNotify("log") { log.note($0) }
        let device = try index(of: "a1")
        let policy = framePolicy(
          [.inboundMACFrameEthernet, layers.pre, layers.input], tags: [tag],
          packets: { packet, out in
            let (state, context) = out.injectionState(for: handle)
            let carried = (try? out.retrieve(tag)) ?? 0
            found.change { $0.append("\(packet.hook) \(state) \(context ?? 0) bears \(carried)") }
            guard packet.hook == .prerouting, !state.isOwn else { return }
            try? out.associate(5, with: tag, notify: notify)
            guard var clone = try? out.clone(packet) else { return }
            try? out.move(tag, to: &clone)
            out.absorb()
            let outcome = bridge.injectNetworkReceive(
              .clone(clone), with: handle, context: 6, interface: device, completion: ended.note)
            if let error = refusal(outcome) { found.change { $0.append("\(error)") } }
          }
        ) { _, _ in }
        try await running(bridge, policy) {
          let receiver = Receiver(isIPv6: isIPv6)
          Sender(in: "p1", to: isIPv6 ? "fd09:1::1" : "10.9.1.1").send(1)
          try await expectSoon { receiver.count == 1 && ended.segments.count == 1 }
          #expect(ended.statuses == [.success])
          #expect(
            found.value == [
              "prerouting notInjected 0 bears 0", "prerouting injectedBySelf 6 bears 5",
              "input injectedBySelf 6 bears 5",
            ])
          try await expectSoon { log.reasons() == [.movedToClone, .released] }
          try await expectSoon { try await bridge.statistics().tagging.live == 0 }
        }
      }
    }

    @Test func `F42: what a handle of packets is not for is refused, and the packet comes back`()
      async throws
    {
      try await withTopology { _ in
        let (ends, bridge) = (PacketEnds(isIPv6: false), injectingBridge())
        let device = try index(of: "a1")
        let frames = try bridge.makeInjectionHandle(kinds: .l2)
        let (own, other) = (try handle(bridge, false), try handle(bridge, true))
        let closing = try handle(bridge, false)
        await closing.destroy()
        let (sent, ended) = (ends.packet(1, to: ends.peer, from: ends.host), Completions())
        func send(_ bytes: [UInt8], _ handle: InjectionHandle) -> InjectionError? {
          refusal(
            bridge.injectNetworkSend(.invented(bytes), with: handle, completion: ended.note),
            of: bytes)
        }
        func receive(_ bytes: [UInt8], _ handle: InjectionHandle, _ device: UInt32)
          -> InjectionError?
        {
          refusal(
            bridge.injectNetworkReceive(
              .invented(bytes), with: handle, interface: device, completion: ended.note),
            of: bytes)
        }
        #expect(send(sent, own) == .closed)
        try await running(bridge, framePolicy([.inboundMACFrameEthernet]) { _, _ in }) {
          for refused in [send(sent, frames), send(sent, other), receive(sent, other, device)] {
            #expect(refused == .handleStale)
          }
          #expect(send(sent, closing) == .handleClosing)
          for bytes in [[], [1, 2], sent.dropLast(1).map { $0 }] {
            #expect(send(bytes, own) == .malformedPacket)
            #expect(receive(bytes, own, device) == .malformedPacket)
          }
          #expect(InjectionError.malformedPacket.status == 0xc000_000d)
          #expect(receive(sent, own, 9999) == .noInterface(9999))
          #expect(ended.segments.isEmpty && own.pendingCount == 0)
        }
        #expect(send(sent, own) == .closed)
      }
    }

    @Test(arguments: [false, true])
    func `F47: where no route leads the completion says so, and what was borne ends`(
      _ isIPv6: Bool
    ) async throws {
      try await withTopology { _ in
        let (ends, layers) = (PacketEnds(isIPv6: isIPv6), layers(isIPv6))
        let bridge = makeBridge()
        let handle = try handle(bridge, isIPv6)
        let tag = bridge.makeTag(named: "t")
        let (log, ended) = (EventLog(), Completions())
        let notify = bridge.registerNotify("log") { log.note($0) }
        let nowhere: [UInt8] =
          isIPv6 ? [0xfd, 0x77] + [UInt8](repeating: 1, count: 14) : [10, 77, 0, 1]
        let lost = ends.packet(1, to: nowhere, from: ends.host)
        let policy = policy([layers.output], tags: [tag], needs: .wholePacket) { packet, out in
          try? out.associate(5, with: tag, notify: notify)
          guard var clone = try? out.clone(packet) else { return }
          try? out.move(tag, to: &clone)
          clone.bytes = lost
          _ = bridge.injectNetworkSend(.clone(clone), with: handle, completion: ended.note)
        }
        try await running(bridge, policy) {
          Sender(to: isIPv6 ? "fd09:1::2" : "10.9.1.2").send(1)
          try await expectSoon { ended.segments.count == 1 }
          #expect(ended.statuses == [.networkUnreachable])
          #expect(ended.statuses.allSatisfy { $0.rawValue < 0 && !$0.isSuccess })
          try await expectSoon { log.reasons() == [.movedToClone, .dropped] }
          #expect(handle.pendingCount == 0)
        }
      }
    }

    @Test(arguments: [false, true])
    func `F50: who sends a clone of all that it sees comes to an end`(_ isIPv6: Bool) async throws {
      try await withTopology { _ in
        let layers = layers(isIPv6)
        let bridge = makeBridge()
        let handle = try handle(bridge, isIPv6)
        let (met, refused) = (Shared<[InjectionState]>([]), Shared<[InjectionError]>([]))
        let ended = Completions()
        let policy = policy([layers.output], needs: .wholePacket) { packet, out in
          met.change { $0.append(out.injectionState(for: handle).state) }
          guard let clone = try? out.clone(packet) else { return }
          out.absorb()
          let outcome = bridge.injectNetworkSend(
            .clone(clone), with: handle, completion: ended.note)
          if let error = refusal(outcome) { refused.change { $0.append(error) } }
        }
        try await running(bridge, policy) {
          Sender(to: isIPv6 ? "fd09:1::2" : "10.9.1.2").send(1)
          try await expectSoon { !refused.value.isEmpty }
          #expect(refused.value == [.tooManyHops])
          #expect(met.value.first == .notInjected)
          #expect(met.value.dropFirst().allSatisfy { $0 == .injectedBySelf })
          #expect(met.value.count == Int(InjectionTrace.maximumHops) + 1)
          #expect(ended.statuses.allSatisfy { $0.isSuccess })
          #expect(try await bridge.statistics().frames.tooManyHops == 1)
        }
      }
    }

    @Test func `a packet that is sent meets the outbound MAC layer where no hook is ours`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let (ends, bridge) = (PacketEnds(isIPv6: false), injectingBridge())
        let handle = try handle(bridge, false)
        let (met, ended) = (Shared<[InjectionState]>([]), Completions())
        let policy = framePolicy([.outboundMACFrameEthernet]) { frame, out in
          guard frame.sequence != nil else { return }
          met.change { $0.append(out.injectionState(for: handle).state) }
        }
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p1")
          let outcome = bridge.injectNetworkSend(
            .invented(ends.packet(1, to: ends.peer, from: ends.host)), with: handle,
            completion: ended.note)
          #expect(refusal(outcome) == nil)
          try await expectSoon { receiver.count == 1 && ended.statuses == [.success] }
          #expect(met.value == [.injectedBySelf])
        }
      }
    }
  }
}
