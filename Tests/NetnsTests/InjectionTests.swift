// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// Frames that a caller gives to a bridge.
  @Suite struct Injection {
    private static let inbound = Layer.inboundMACFrameEthernet
    private static let outbound = Layer.outboundMACFrameEthernet

    /// Runs the body with a bridge that permits what it sees, and a handle for frames.
    private func injecting(
      _ layers: [Layer] = [inbound, outbound],
      _ frames: @escaping FrameBody = { _, _ in },
      _ body: (Bridge, InjectionHandle, UInt32) async throws -> Void
    ) async throws {
      try await withTopology { topology in
        try topology.silence()
        let bridge = injectingBridge()
        let handle = try bridge.makeInjectionHandle(kinds: .l2)
        try await running(bridge, framePolicy(layers, frames)) {
          try await body(bridge, handle, try index(of: "a1"))
          await handle.destroy()
          #expect(handle.pendingCount == 0)
        }
      }
    }

    @Test func `F40: an invented frame is received by this host`() async throws {
      try await injecting { bridge, handle, device in
        let (receiver, ended) = (Receiver(), Completions())
        let outcome = bridge.injectMACReceive(
          .invented(numberedFrame(5)), with: handle, at: Self.inbound, interface: device,
          completion: ended.note)
        #expect(refusal(outcome) == nil)
        try await expectSoon { receiver.count == 1 && ended.segments.count == 1 }
        #expect(receiver.contents.sequences == [5])
        #expect(ended.statuses == [.success])
        #expect(try await bridge.statistics().frames.injected == 1)
        // It did not meet the layer at which it was injected.
        #expect(try await bridge.statistics().frames.frames == 0)
      }
    }

    @Test func `a frame that is longer than the interface takes is completed with that`()
      async throws
    {
      try await injecting { bridge, handle, device in
        let (tap, ended) = (FrameTap(in: "p1", "b1"), Completions())
        defer { tap.close() }
        for size in [3000, 1514] {
          let outcome = bridge.injectMACSend(
            .invented(experiment(number: 9, size: size)), with: handle, at: Self.outbound,
            interface: device, completion: ended.note)
          #expect(refusal(outcome) == nil)
        }
        try await expectSoon { tap.count > 0 && ended.segments.count == 2 }
        #expect(ended.statuses == [.invalidBufferSize, .success])
        #expect(tap.seen.map(\.bytes.count) == [1514])
      }
    }

    @Test func `F41: an invented frame is sent, byte by byte as it was given`() async throws {
      try await injecting { bridge, handle, device in
        let (tap, ended) = (FrameTap(in: "p1", "b1"), Completions())
        defer { tap.close() }
        let bytes = experiment(number: 9, size: 200)
        let outcome = bridge.injectMACSend(
          .invented(bytes), with: handle, at: Self.outbound, interface: device,
          completion: ended.note)
        #expect(refusal(outcome) == nil)
        try await expectSoon { tap.count == 1 && ended.segments.count == 1 }
        #expect(tap.seen.map(\.bytes) == [bytes])
        #expect(ended.statuses == [.success])
      }
    }

    @Test func `F42: a handle of IP packets is stale for frames, and the frame comes back`()
      async throws
    {
      try await injecting { bridge, _, device in
        let other = try bridge.makeInjectionHandle(kinds: .network, family: .ipv4)
        let (bytes, ended) = (experiment(), Completions())
        let outcome = bridge.injectMACSend(
          .invented(bytes), with: other, at: Self.outbound, interface: device,
          completion: ended.note)
        #expect(refusal(outcome, of: bytes) == .handleStale)
        #expect(ended.segments.isEmpty && other.pendingCount == 0)
      }
    }

    @Test func `F43: a closing handle refuses, and destroying waits for what is pending`()
      async throws
    {
      let (isIn, mayGo) = (Shared(false), Shared(false))
      try await injecting { frame, _ in
        guard frame.sequence == 1 else { return }
        isIn.change { $0 = true }
        while !mayGo.value { usleep(500) }
      } _: { bridge, handle, device in
        Sender(in: "p1", to: "10.9.1.1").send(1)
        try await expectSoon { isIn.value }
        // The worker is busy, so that it waits.
        let ended = Completions()
        let first = bridge.injectMACSend(
          .invented(experiment()), with: handle, at: Self.outbound, interface: device,
          completion: ended.note)
        #expect(refusal(first) == nil)
        let isDestroyed = Shared(false)
        let destroying = Task {
          await handle.destroy()
          isDestroyed.change { $0 = true }
        }
        try await expectSoon {
          let outcome = bridge.injectMACSend(
            .invented([1]), with: handle, at: Self.outbound, interface: device,
            completion: ended.note)
          return refusal(outcome, of: [1]) == .handleClosing
        }
        #expect(!isDestroyed.value && handle.pendingCount == 1 && ended.segments.isEmpty)
        mayGo.change { $0 = true }
        await destroying.value
        #expect(ended.statuses == [.success])
      }
    }

    @Test func `F44: what is not an unaltered original needs a completion function`() async throws {
      try await injecting { bridge, handle, device in
        let bytes = experiment()
        let outcome = bridge.injectMACSend(
          .invented(bytes), with: handle, at: Self.outbound, interface: device)
        #expect(refusal(outcome, of: bytes) == .completionRequired)
        #expect(handle.pendingCount == 0)
      }
    }

    @Test func `F45: a refused injection completes nothing and gives the frame back`()
      async throws
    {
      try await injecting { bridge, handle, device in
        let (bytes, ended) = (experiment(), Completions())
        func send(_ bytes: [UInt8], _ device: UInt32) -> InjectionError? {
          refusal(
            bridge.injectMACSend(
              .invented(bytes), with: handle, at: Self.outbound, interface: device,
              completion: ended.note), of: bytes)
        }
        #expect(send(bytes, 9999) == .noInterface(9999))
        #expect(send([1, 2, 3], device) == .malformedFrame)
        try Shell.run("ip link set a1 down")
        #expect(send(bytes, device) == .interfaceDown(device))
        #expect(InjectionError.interfaceDown(device).status == 0xc023_001f)
        try Shell.run("ip link set a1 up")
        #expect(ended.segments.isEmpty && handle.pendingCount == 0)
        #expect(send(bytes, device) == nil)
        try await expectSoon { ended.statuses == [.success] }
      }
    }

    @Test func `F46: completions cover a whole chain, in its order`() async throws {
      try await injecting { bridge, handle, device in
        let (tap, ended) = (FrameTap(in: "p1", "b1"), Completions())
        defer { tap.close() }
        var chain = InjectableChain()
        let frames = [experiment(number: 1), experiment(size: 70_000), experiment(number: 3)]
        for bytes in frames { chain.append(.invented(bytes)) }
        let outcome = bridge.injectMACSend(
          chain: chain, with: handle, at: Self.outbound, interface: device,
          completion: ended.note)
        switch outcome {
        case .started: break
        case .refused(let error, _): Issue.record("\(error)")
        }
        try await expectSoon { tap.count == 2 && handle.pendingCount == 0 }
        #expect(tap.seen.map(\.bytes) == [frames[0], frames[2]])
        #expect(ended.segments.map(\.first) == [0, 1, 2])
        #expect(ended.statuses == [.success, .invalidBufferSize, .success])
      }
    }

    @Test func `F47: a send that fails late is told by a negative status`() async throws {
      try await injecting { bridge, handle, device in
        let ended = Completions()
        try Shell.run("ip link set coi\(device) down")
        let outcome = bridge.injectMACReceive(
          .invented(numberedFrame(1)), with: handle, at: Self.inbound, interface: device,
          completion: ended.note)
        #expect(refusal(outcome) == nil)
        try await expectSoon { ended.segments.count == 1 }
        #expect(ended.statuses == [.mediaDisconnected])
        #expect(ended.statuses.allSatisfy { $0.rawValue < 0 && !$0.isSuccess })
        #expect(try await bridge.statistics().frames.injectionsFailed == 1)
        try Shell.run("ip link set coi\(device) up")
      }
    }

    @Test func `F48: where no filter asks a callout nothing is injected`() async throws {
      try await injecting([Self.inbound]) { bridge, handle, device in
        let (bytes, ended) = (experiment(), Completions())
        let outcome = bridge.injectMACSend(
          .invented(bytes), with: handle, at: Self.outbound, interface: device,
          completion: ended.note)
        #expect(refusal(outcome, of: bytes) == .noCallout(layer: Self.outbound))
        try await bridge.apply(framePolicy([]) { _, _ in })
        let later = bridge.injectMACReceive(
          .invented(bytes), with: handle, at: Self.inbound, interface: device,
          completion: ended.note)
        #expect(refusal(later, of: bytes) == .noCallout(layer: Self.inbound))
        #expect(ended.segments.isEmpty)
      }
    }

    @Test func `F38: an absorbed frame is kept, and injected when others have gone by`()
      async throws
    {
      let kept = Shared<[KeptFrame]>([])
      try await injecting([Self.inbound]) { frame, out in
        guard frame.sequence == 1, let held = try? out.reference(frame) else { return }
        let box = KeptFrame(.original(held))
        kept.change { $0.append(box) }
        out.absorb()
      } _: { bridge, handle, device in
        let receiver = Receiver()
        let sender = Sender(in: "p1", to: "10.9.1.1")
        for sequence in 1...100 as ClosedRange<UInt64> { sender.send(sequence) }
        try await expectSoon { receiver.count == 99 }
        guard let frame = kept.value.first?.take() else {
          Issue.record("no frame was kept")
          return
        }
        // An unaltered original needs no completion function.
        let outcome = bridge.injectMACReceive(
          frame, with: handle, at: Self.inbound, interface: device)
        #expect(refusal(outcome) == nil)
        try await expectSoon { receiver.count == 100 }
        #expect(receiver.contents.sequences.last == 1)
      }
    }
  }
}
