// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// The scenarios of Microsoft's WFPSampler that absorb what comes and inject something for it.
  @Suite struct SamplerInjection {
    private typealias Giver = @Sendable (consuming InjectablePacket) -> PacketInjectionOutcome
    private typealias FrameGiver = @Sendable (consuming InjectableFrame) -> InjectionOutcome

    private struct Seen: Sendable {
      var absorbed = 0
      var injected = 0
      var refusals: [InjectionError] = []
    }

    /// Puts IP packets where those of a crossing came from.
    private func giver(
      _ crossing: Crossing, _ bridge: Bridge, _ handle: InjectionHandle, _ device: UInt32,
      _ ended: Completions
    ) -> Giver {
      let note = ended.note
      guard crossing.isInbound else {
        return { bridge.injectNetworkSend($0, with: handle, completion: note) }
      }
      return {
        bridge.injectNetworkReceive($0, with: handle, interface: device, completion: note)
      }
    }

    /// The same for frames; an original needs no completion.
    private func frameGiver(
      _ crossing: Crossing, _ bridge: Bridge, _ handle: InjectionHandle, _ device: UInt32,
      _ note: InjectionCompletion?
    ) -> FrameGiver {
      let layer = crossing.layer
      guard crossing.isInbound else {
        return {
          bridge.injectMACSend(
            $0, with: handle, at: layer, interface: device, completion: note)
        }
      }
      return {
        bridge.injectMACReceive(
          $0, with: handle, at: layer, interface: device, completion: note)
      }
    }

    /// Absorbs all that comes by a layer and injects for each what `packet` and `frame` make of it.
    private func absorbing(
      _ crossing: Crossing, _ bridge: Bridge, _ handle: InjectionHandle, _ device: UInt32,
      _ ended: Completions, _ seen: Shared<Seen>,
      packet make: @escaping @Sendable (consuming PacketClone) -> InjectablePacket,
      frame makeFrame: @escaping @Sendable (consuming FrameClone) -> InjectableFrame
    ) -> FilterPolicy {
      let give = giver(crossing, bridge, handle, device, ended)
      let giveFrame = frameGiver(crossing, bridge, handle, device, ended.note)
      return crossing.policy(
        takesFrames: true,
        packets: { packet, out in
          guard !out.injectionState(for: handle).state.isOwn else {
            return seen.change { $0.injected += 1 }
          }
          guard let clone = try? out.clone(packet) else { return }
          out.absorb()
          let error = refusal(give(make(clone)))
          seen.change {
            $0.absorbed += 1
            if let error { $0.refusals.append(error) }
          }
        }
      ) { frame, out in
        guard !out.injectionState(for: handle).state.isOwn else {
          return seen.change { $0.injected += 1 }
        }
        guard let clone = try? out.clone(frame) else { return }
        out.absorb()
        let error = refusal(giveFrame(makeFrame(clone)))
        seen.change {
          $0.absorbed += 1
          if let error { $0.refusals.append(error) }
        }
      }
    }

    /// How often what was injected is to come by the layer again.
    ///
    /// Frames are injected behind it; what was routed is sent on as this host's.
    private func meetsAgain(_ crossing: Crossing) -> Bool {
      !crossing.layer.indicatesFrames && crossing.way != .through
    }

    @Test(arguments: Crossing.all)
    func `W3 BASIC_PACKET_INJECTION: absorbed, and a clone injected unchanged`(
      _ crossing: Crossing
    ) async throws {
      try await withCrossing(crossing) { bridge, handle, device in
        let (seen, ended) = (Shared(Seen()), Completions())
        let policy = absorbing(
          crossing, bridge, handle, device, ended, seen, packet: { .clone($0) },
          frame: { .clone($0) })
        try await running(bridge, policy) {
          let receiver = crossing.receiver()
          crossing.send(count: 30, size: 700)
          try await expectSoon { receiver.count == 30 && ended.segments.count == 30 }
          #expect(receiver.contents.sequences == Array(0..<30))
          #expect(receiver.contents.lastPayload.count == 700)
          #expect(receiver.contents.lastPayload.dropFirst(12).allSatisfy { $0 == 0x5a })
          #expect(ended.statuses.allSatisfy { $0 == .success })
          #expect(seen.value.absorbed == 30 && seen.value.refusals.isEmpty)
          #expect(seen.value.injected == (meetsAgain(crossing) ? 30 : 0))
        }
      }
    }

    @Test(arguments: Crossing.all, [0, 16])
    func `W4 ADVANCED_PACKET_INJECTION: absorbed, and a new packet injected, longer if asked`(
      _ crossing: Crossing, _ added: Int
    ) async throws {
      let ends = PacketEnds(isIPv6: crossing.isIPv6)
      let more = [UInt8](repeating: 0xab, count: added)
      try await withCrossing(crossing) { bridge, handle, device in
        let (seen, ended) = (Shared(Seen()), Completions())
        let policy = absorbing(
          crossing, bridge, handle, device, ended, seen,
          packet: { .invented(ends.rebuilt($0.bytes, adding: more)) },
          frame: {
            let frame = $0.bytes
            let packet = ends.rebuilt(Array(frame[14...]), adding: more)
            return .invented(Array(frame[..<14]) + packet)
          })
        try await running(bridge, policy) {
          let receiver = crossing.receiver()
          crossing.send(count: 30, size: 100)
          try await expectSoon { receiver.count == 30 && ended.segments.count == 30 }
          #expect(receiver.contents.sequences == Array(0..<30))
          #expect(receiver.contents.lastPayload.count == 100 + added)
          #expect(receiver.contents.lastPayload.dropFirst(100).allSatisfy { $0 == 0xab })
          #expect(ended.statuses.allSatisfy { $0 == .success })
          #expect(seen.value.absorbed == 30 && seen.value.refusals.isEmpty)
        }
      }
    }

    @Test(arguments: Crossing.all)
    func `W5 FAST_PACKET_INJECTION: as little as can be, at every layer and in order`(
      _ crossing: Crossing
    ) async throws {
      try await withCrossing(crossing) { bridge, handle, device in
        let (refused, ended) = (Shared(0), Completions())
        let give = giver(crossing, bridge, handle, device, ended)
        let giveFrame = frameGiver(crossing, bridge, handle, device, nil)
        let policy = crossing.policy(
          takesFrames: true,
          packets: { packet, out in
            guard !packet.metadata.isInjected, let clone = try? out.clone(packet) else { return }
            out.absorb()
            if crossing.isInbound {
              if refusal(give(.clone(clone))) != nil { refused.change { $0 += 1 } }
            } else if (try? clone.injectSend()) == nil {
              refused.change { $0 += 1 }
            }
          }
        ) { frame, out in
          guard let original = try? out.reference(frame) else { return }
          out.absorb()
          if refusal(giveFrame(.original(original))) != nil { refused.change { $0 += 1 } }
        }
        try await running(bridge, policy) {
          let receiver = crossing.receiver()
          for first in stride(from: UInt64(0), to: 2000, by: 100) {
            crossing.send(count: 100, first: first)
            try await expectSoon { receiver.count == Int(first) + 100 }
            guard receiver.count == Int(first) + 100 else { break }
          }
          #expect(receiver.contents.sequences == Array(0..<2000))
          #expect(refused.value == 0)
        }
      }
    }

    @Test(arguments: [
      Layer.outboundTransportV4, .outboundTransportV6, .outboundIPPacketV4,
      .outboundIPPacketV6,
    ])
    func `W6 BASIC_PACKET_MODIFICATION: addresses and port of what leaves`(_ layer: Layer)
      async throws
    {
      let crossing = Crossing(layer: layer, way: .leaving)
      let ends = PacketEnds(isIPv6: crossing.isIPv6)
      try await withCrossing(crossing) { bridge, handle, device in
        // To the second peer's address instead, which is reached by another link.
        let target: [UInt8] =
          crossing.isIPv6
          ? [0xfd, 0x09, 0, 2] + [UInt8](repeating: 0, count: 11) + [2] : [10, 9, 2, 2]
        let sham: [UInt8] =
          crossing.isIPv6
          ? [0xfd, 0x09, 0, 2] + [UInt8](repeating: 0, count: 11) + [9] : [10, 9, 2, 9]
        let (seen, ended) = (Shared(Seen()), Completions())
        let policy = absorbing(
          crossing, bridge, handle, device, ended, seen,
          packet: {
            .invented(ends.rebuilt($0.bytes, from: sham, to: target, port: 4007))
          },
          frame: { .clone($0) })
        try Shell.run(
          """
          ip netns exec p2 nft 'add table inet w; \
          add chain inet w in { type filter hook input priority 0; }; \
          add rule inet w in \(crossing.isIPv6 ? "ip6 saddr fd09:2::9" : "ip saddr 10.9.2.9") \
          udp dport 4007 counter'
          """)
        try await running(bridge, policy) {
          let receiver = Receiver(in: "p2", isIPv6: crossing.isIPv6, port: 4007)
          crossing.send(count: 20)
          try await expectSoon { receiver.count == 20 && ended.segments.count == 20 }
          #expect(receiver.contents.sequences == Array(0..<20))
          #expect(
            try Shell.run("ip netns exec p2 nft list chain inet w in").contains("packets 20 "))
          #expect(ended.statuses.allSatisfy { $0 == .success })
        }
      }
    }

    @Test(arguments: [
      Layer.inboundTransportV4, .inboundTransportV6, .inboundIPPacketV4,
      .inboundIPPacketV6,
    ])
    func `W6 BASIC_PACKET_MODIFICATION: port and interface of what arrives`(_ layer: Layer)
      async throws
    {
      let crossing = Crossing(layer: layer, way: .arriving)
      let ends = PacketEnds(isIPv6: crossing.isIPv6)
      try await withTopology(peers: 2) { _ in
        // As if the second link had brought it.
        let bridge = injectingBridge(["a1", "a2"])
        let handle = try bridge.makeInjectionHandle(
          kinds: .network, family: crossing.isIPv6 ? .ipv6 : .ipv4)
        let (first, second) = (try index(of: "a1"), try index(of: "a2"))
        let (devices, ended) = (Shared<[UInt32]>([]), Completions())
        let policy = crossing.policy(
          takesFrames: true,
          packets: { packet, out in
            let device = packet.metadata.inputDevice
            devices.change { $0.append(device) }
            guard !out.injectionState(for: handle).state.isOwn,
              let clone = try? out.clone(packet)
            else { return }
            out.absorb()
            _ = bridge.injectNetworkReceive(
              .invented(ends.rebuilt(clone.bytes, port: 4007)), with: handle, interface: second,
              completion: ended.note)
          })
        try Shell.run("echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter")
        try await running(bridge, policy) {
          let receiver = crossing.receiver(port: 4007)
          for number in 0..<10 {
            crossing.send(count: 1, first: UInt64(number))
            try await expectSoon { receiver.count == number + 1 }
            guard receiver.count == number + 1 else { break }
          }
          #expect(receiver.contents.sequences == Array(0..<10))
          #expect(devices.value == (0..<10).flatMap { _ in [first, second] })
          #expect(ended.statuses.allSatisfy { $0 == .success })
        }
      }
    }

    @Test func `W6 BASIC_PACKET_MODIFICATION: MAC addresses of what leaves`() async throws {
      let crossing = Crossing(layer: .outboundMACFrameEthernet, way: .leaving)
      try await withCrossing(crossing) { bridge, handle, device in
        let (seen, ended) = (Shared(Seen()), Completions())
        let target: [UInt8] = [2, 0, 0, 0, 9, 9]
        let sham: [UInt8] = [2, 0, 0, 0, 9, 1]
        let policy = absorbing(
          crossing, bridge, handle, device, ended, seen, packet: { .clone($0) },
          frame: { clone in
            var clone = clone
            clone.bytes.replaceSubrange(0..<12, with: target + sham)
            return .clone(clone)
          })
        try await running(bridge, policy) {
          let tap = FrameTap(in: "p1", "b1", seeing: 0x0800)
          defer { tap.close() }
          crossing.send(count: 20)
          try await expectSoon { tap.count == 20 && ended.segments.count == 20 }
          #expect(Set(tap.seen.map { Array($0.bytes[..<14]) }) == [target + sham + [8, 0]])
          #expect(seen.value.absorbed == 20 && seen.value.refusals.isEmpty)
        }
      }
    }

    @Test func `W6 BASIC_PACKET_MODIFICATION: ICMP of what leaves`() async throws {
      try await withTopology { _ in
        let bridge = injectingBridge()
        let handle = try bridge.makeInjectionHandle(kinds: .network, family: .ipv4)
        let ended = Completions()
        var policy = policy([.outboundTransportV4], needs: .wholePacket, protocolNumber: 1) {
          packet, out in
          guard !out.injectionState(for: handle).state.isOwn, var clone = try? out.clone(packet)
          else { return }
          out.absorb()
          // Another code: the sum of an echo request's first bytes grows by it.
          clone.bytes[21] = 5
          let sum = UInt32(clone.bytes[22]) << 8 | UInt32(clone.bytes[23])
          let changed = sum >= 5 ? sum - 5 : sum + 0xffff - 5
          clone.bytes.replaceSubrange(
            22..<24, with: [UInt8(changed >> 8 & 0xff), UInt8(changed & 0xff)])
          _ = bridge.injectNetworkSend(.clone(clone), with: handle, completion: ended.note)
        }
        policy.callouts[0].neededBytes = .wholePacket
        try Shell.run(
          """
          ip netns exec p1 nft 'add table inet w; \
          add chain inet w in { type filter hook input priority 0; }; \
          add rule inet w in icmp type echo-request icmp code 5 counter'
          """)
        try await running(bridge, policy) {
          let text = try Shell.run("ping -c 3 -i 0.05 -W 5 10.9.1.2")
          #expect(text.contains(" 0% packet loss"))
          #expect(
            try Shell.run("ip netns exec p1 nft list chain inet w in").contains("packets 3 "))
          #expect(ended.statuses == [.success, .success, .success])
        }
        await handle.destroy()
      }
    }
  }
}
