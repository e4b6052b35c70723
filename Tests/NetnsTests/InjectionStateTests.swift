// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// What is known of injected frames where they are met later.
  @Suite struct InjectionStates {
    private static let inbound = Layer.inboundMACFrameEthernet
    private static let outbound = Layer.outboundMACFrameEthernet

    /// Two ends of one link here, so that what one sends the other receives with its mark.
    private func makeLoop() throws {
      try Shell.run(
        """
        ip link add x1 address 02:00:00:00:00:11 type veth peer name x2 address 02:00:00:00:00:12
        echo 1 > /proc/sys/net/ipv6/conf/x1/disable_ipv6
        echo 1 > /proc/sys/net/ipv6/conf/x2/disable_ipv6
        ip link set x1 up; ip link set x2 up
        """)
    }

    @Test(arguments: [BridgeConfiguration.LifecycleChoice.verdicts, .automatic])
    func `F49: native, own, another's, and own before another's`(
      _ lifecycle: BridgeConfiguration.LifecycleChoice
    )
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        try makeLoop()
        let bridge = injectingBridge(["x1", "x2", "a1"]) { $0.lifecycle = lifecycle }
        let one = try bridge.makeInjectionHandle(kinds: .l2)
        let two = try bridge.makeInjectionHandle(kinds: .l2)
        let (x1, x2) = (try index(of: "x1"), try index(of: "x2"))
        let (first, second) = (Shared<[UInt64: String]>([:]), Shared<[UInt64: String]>([:]))
        let ended = Completions()
        let policy = framePolicy(
          [Self.inbound, Self.outbound, .inboundIPPacketV4],
          packets: { packet, out in
            let (mine, other) = (out.injectionState(for: one), out.injectionState(for: two))
            first.change { $0[packet.sequence] = "\(mine.state) \(mine.context ?? 0)" }
            second.change { $0[packet.sequence] = "\(other.state) \(other.context ?? 0)" }
          }
        ) { frame, out in
          // What the first handle sent by x1, the second takes and gives to the stack.
          guard frame.layer == Self.inbound, frame.sequence == 3,
            out.injectionState(for: one).state == .injectedBySelf,
            let held = try? out.reference(frame)
          else { return }
          out.absorb()
          _ = bridge.injectMACReceive(
            .original(held), with: two, context: 22, at: Self.inbound, interface: x2)
        }
        try await running(bridge, policy) {
          Sender(in: "p1", to: "10.9.1.1").send(1)
          let own = bridge.injectMACReceive(
            .invented(numberedFrame(2, to: [2, 0, 0, 0, 0, 0x11])), with: one, context: 11,
            at: Self.inbound, interface: x1, completion: ended.note)
          #expect(refusal(own) == nil)
          let sent = bridge.injectMACSend(
            .invented(numberedFrame(3, to: [2, 0, 0, 0, 0, 0x12])), with: one, context: 33,
            at: Self.outbound, interface: x1, completion: ended.note)
          #expect(refusal(sent) == nil)
          try await expectSoon { first.value.count == 3 }
          #expect(
            first.value == [
              1: "notInjected 0", 2: "injectedBySelf 11", 3: "previouslyInjectedBySelf 33",
            ])
          #expect(
            second.value == [
              1: "notInjected 0", 2: "injectedByOther 0", 3: "injectedBySelf 22",
            ])
        }
      }
    }

    @Test(arguments: [true, false])
    func `F50: what re-injects all that it sees comes to an end`(_ looks: Bool) async throws {
      try await withTopology { topology in
        try topology.silence()
        try makeLoop()
        let bridge = injectingBridge(["x1", "x2"])
        let handle = try bridge.makeInjectionHandle(kinds: .l2)
        let met = Shared<[InjectionState]>([])
        let refused = Shared<[InjectionError]>([])
        let (x1, ended) = (try index(of: "x1"), Completions())
        let policy = framePolicy([Self.inbound, Self.outbound]) { frame, out in
          guard frame.layout.etherType.rawValue == 0x88b5 else { return }
          let state = out.injectionState(for: handle).state
          met.change { $0.append(state) }
          if looks, state.isOwn { return }
          // Back to where it came from, for ever.
          guard let held = try? out.reference(frame) else { return }
          out.absorb()
          let outcome = bridge.injectMACSend(
            .original(held), with: handle, at: Self.outbound,
            interface: frame.metadata.interfaceIndex)
          guard let error = refusal(outcome) else { return }
          refused.change { $0.append(error) }
        }
        try await running(bridge, policy) {
          let outcome = bridge.injectMACSend(
            .invented(experiment(to: Ends.broadcast)), with: handle, at: Self.outbound,
            interface: x1, completion: ended.note)
          #expect(refusal(outcome) == nil)
          if looks {
            try await expectSoon { met.value.count == 1 }
            #expect(met.value == [.injectedBySelf])
          } else {
            try await expectSoon { !refused.value.isEmpty }
            #expect(refused.value == [.tooManyHops])
            #expect(met.value.count == Int(InjectionTrace.maximumHops))
            #expect(try await bridge.statistics().frames.tooManyHops == 1)
          }
        }
      }
    }

    @Test(arguments: [inbound, outbound])
    func `F50: two engines that inject each other's frames come to an end`(_ layer: Layer)
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let device = try index(of: "a1")
        let engines = [
          injectingBridge { $0.mark = .mask(0x3ffc_0000) },
          injectingBridge {
            $0.mark = .mask(0x0003_ff00)
            $0.firstQueue = 32_000
            $0.ruleTable = "other"
          },
        ]
        let states = Shared<[[InjectionState]]>([[], []])
        let refused = Shared<[InjectionError]>([])
        func policy(_ number: Int, _ handle: InjectionHandle) -> FilterPolicy {
          let bridge = engines[number]
          return framePolicy([layer]) { frame, out in
            guard frame.sequence != nil else { return }
            let state = out.injectionState(for: handle).state
            states.change { $0[number].append(state) }
            guard let held = try? out.reference(frame) else { return }
            out.absorb()
            let outcome =
              layer == Self.inbound
              ? bridge.injectMACReceive(.original(held), with: handle, at: layer, interface: device)
              : bridge.injectMACSend(.original(held), with: handle, at: layer, interface: device)
            guard let error = refusal(outcome) else { return }
            refused.change { $0.append(error) }
          }
        }
        let handles = try engines.map { try $0.makeInjectionHandle(kinds: .l2) }
        try await running(engines[0], policy(0, handles[0])) {
          try await running(engines[1], policy(1, handles[1])) {
            let sender =
              layer == Self.inbound ? Sender(in: "p1", to: "10.9.1.1") : Sender(to: "10.9.1.2")
            sender.send(1)
            try await expectSoon { !refused.value.isEmpty }
            #expect(refused.value == [.tooManyHops])
            // The one that came last is asked first; the other is shown what that one injects.
            let most = Int(InjectionTrace.maximumHops)
            let later = InjectionState.previouslyInjectedBySelf
            #expect(states.value[1] == [.notInjected] + Array(repeating: later, count: most))
            #expect(
              states.value[0] == [.injectedByOther] + Array(repeating: later, count: most - 1))
            #expect(try await engines[1].statistics().frames.tooManyHops == 1)
            #expect(try await engines[0].statistics().frames.tooManyHops == 0)
          }
        }
      }
    }

    @Test(arguments: [inbound, outbound])
    func `two engines that permit and delay are asked about each frame once`(_ layer: Layer)
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let isInbound = layer == Self.inbound
        let receiver = isInbound ? Receiver() : Receiver(in: "p1")
        let met = Shared<[[UInt64]]>([[], []])
        let states = Shared<Set<InjectionState>>([])
        let engines = [
          injectingBridge { $0.mark = .mask(0x3ffc_0000) },
          injectingBridge {
            $0.mark = .mask(0x0003_ff00)
            $0.firstQueue = 32_000
            $0.ruleTable = "other"
          },
        ]
        let handles = try engines.map { try $0.makeInjectionHandle(kinds: .l2) }
        let policies = (0..<2).map { number in
          framePolicy([layer]) { frame, out in
            guard let sequence = frame.sequence else { return }
            met.change { $0[number].append(sequence) }
            let state = out.injectionState(for: handles[number]).state
            states.change { $0.insert(state) }
            if sequence % 2 == UInt64(number) {
              out.hold(for: .milliseconds(5), thenPermit: true)
            }
          }
        }
        try await running(engines[0], policies[0]) {
          try await running(engines[1], policies[1]) {
            let sender = isInbound ? Sender(in: "p1", to: "10.9.1.1") : Sender(to: "10.9.1.2")
            sender.send(count: 200)
            try await expectSoon { receiver.count == 200 }
            #expect(receiver.contents.sequences.sorted() == (0..<200).map { UInt64($0) })
            let all = met.value.map { $0.sorted() }
            #expect(all.allSatisfy { $0 == (0..<200).map { UInt64($0) } }, "\(all)")
            #expect(states.value == [.notInjected])
          }
        }
      }
    }

    @Test(arguments: [BridgeConfiguration.LifecycleChoice.verdicts, .automatic])
    func `a clone's contexts go with it to the IP layers, and end there`(
      _ lifecycle: BridgeConfiguration.LifecycleChoice
    ) async throws {
      try await withTopology { topology in
        try topology.silence()
        let receiver = Receiver()
        let (found, log, ended) = (Shared<[UInt64]>([]), EventLog(), Completions())
        let bridge = injectingBridge { $0.lifecycle = lifecycle }
        let handle = try bridge.makeInjectionHandle(kinds: .l2)
        let device = try index(of: "a1")
        let tag = bridge.makeTag(named: "t")
        let notify = bridge.registerNotify("log") { log.note($0) }
        let policy = framePolicy(
          [Self.inbound, .inboundTransportV4], tags: [tag],
          packets: { _, out in
            guard let context = try? out.retrieve(tag) else { return }
            found.change { $0.append(context) }
          }
        ) { frame, out in
          guard let sequence = frame.sequence else { return }
          try? out.associate(sequence, with: tag, notify: notify)
          guard var clone = try? out.clone(frame) else { return }
          try? out.move(tag, to: &clone)
          out.absorb()
          _ = bridge.injectMACReceive(
            .clone(clone), with: handle, at: Self.inbound, interface: device,
            completion: ended.note)
        }
        try await running(bridge, policy) {
          let sender = Sender(in: "p1", to: "10.9.1.1")
          for sequence in 1...8 as ClosedRange<UInt64> { sender.send(sequence) }
          try await expectSoon { receiver.count == 8 && log.reasons().count == 16 }
          #expect(found.value.sorted() == Array(1...8))
          #expect(log.reasons().count { $0 == .movedToClone } == 8)
          #expect(
            log.reasons().count { $0 == (lifecycle == .automatic ? .delivered : .released) } == 8)
          #expect(ended.segments.count == 8 && ended.statuses.allSatisfy(\.isSuccess))
          #expect(try await bridge.statistics().tagging.live == 0)
        }
      }
    }
  }
}
