// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews
import Testing

typealias ChainBody = @Sendable (borrowing FrameChain, inout Classification) -> Void

/// A callout that can take several frames at once.
private final class ChainCallout: Callout {
  private let form: FrameForm
  private let single: FrameBody
  private let chain: ChainBody

  init(_ form: FrameForm, _ single: @escaping FrameBody, _ chain: @escaping ChainBody) {
    self.form = form
    self.single = single
    self.chain = chain
  }

  override var frameForm: FrameForm { form }

  override func classify(_ frame: borrowing ClassifiedFrame, _ out: inout Classification) {
    single(frame, &out)
  }

  override func classify(chain frames: borrowing FrameChain, _ out: inout Classification) {
    chain(frames, &out)
  }
}

extension NetnsTests {
  /// Callouts that take several frames at once, or do not.
  @Suite struct Chains {
    private static let frameCount: UInt64 = 20

    /// Lets frames gather while the first one is decided, and tells what a callout was shown: how
    /// many frames each call had, 0 for single ones.
    private func gathering(
      _ form: FrameForm, allows: Bool, layers: [Layer] = [.inboundMACFrameEthernet],
      expecting count: UInt64 = frameCount,
      _ chain: @escaping ChainBody = { _, _ in }
    ) async throws -> (calls: [Int], received: [UInt64]) {
      let calls = Shared<[Int]>([])
      let received = Shared<[UInt64]>([])
      try await withTopology { topology in
        try topology.silence()
        let receiver = Receiver()
        let (isIn, mayGo) = (Shared(false), Shared(false))
        let wait: @Sendable (borrowing ClassifiedFrame) -> Void = { frame in
          guard frame.sequence == 0 else { return }
          isIn.change { $0 = true }
          while !mayGo.value { usleep(500) }
        }
        let single: FrameBody = { frame, _ in
          wait(frame)
          if frame.sequence != 0 { calls.change { $0.append(0) } }
        }
        let many: ChainBody = { frames, out in
          wait(frames.frame(at: 0))
          guard frames.frame(at: 0).sequence != 0 else { return }
          calls.change { $0.append(frames.count) }
          chain(frames, &out)
        }
        let policy = FilterPolicy(
          callouts: [
            CalloutRegistration(name: "c", allowsL2BatchClassify: allows) {
              ChainCallout(form, single, many)
            }
          ],
          filters: layers.map {
            Filter(name: $0.name, layer: $0, action: .calloutUnknown("c"))
          })
        let bridge = injectingBridge()
        try await running(bridge, policy) {
          let sender = Sender(in: "p1", to: "10.9.1.1")
          sender.send(0)
          try await expectSoon { isIn.value }
          for sequence in 1...Self.frameCount { sender.send(sequence) }
          mayGo.change { $0 = true }
          try await expectSoon { try await bridge.statistics().frames.frames > Self.frameCount }
          try await expectSoon { receiver.count == Int(count) + 1 }
          let statistics = try await bridge.statistics().frames
          #expect(statistics.permitted == count + 1)
          #expect(statistics.permitted + statistics.blocked == Self.frameCount + 1)
          received.change { $0 = receiver.contents.sequences }
        }
      }
      return (calls.value, received.value)
    }

    @Test func `F34: without the flag every frame is a call of its own`() async throws {
      let (calls, received) = try await gathering(.single, allows: false)
      #expect(calls == Array(repeating: 0, count: Int(Self.frameCount)))
      #expect(received == Array(0...Self.frameCount))
    }

    @Test(arguments: [FrameForm.chain, .single], [true, false])
    func `F35: chains need the flag and the chain form, both`(_ form: FrameForm, _ allows: Bool)
      async throws
    {
      let (calls, received) = try await gathering(form, allows: allows)
      if form == .chain, allows {
        #expect(calls == [Int(Self.frameCount)])
      } else {
        #expect(calls == Array(repeating: 0, count: Int(Self.frameCount)))
      }
      #expect(received == Array(0...Self.frameCount))
    }

    @Test func `F36: in a chain clone and reference fail with invalidParameter`() async throws {
      let errors = Shared<[FrameRewriteError?]>([])
      _ = try await gathering(.chain, allows: true) { frames, out in
        let frame = frames.frame(at: 0)
        do throws(FrameRewriteError) {
          _ = try out.clone(frame)
          errors.change { $0.append(nil) }
        } catch {
          errors.change { $0.append(error) }
        }
        do throws(FrameRewriteError) {
          _ = try out.reference(frame)
          errors.change { $0.append(nil) }
        } catch {
          errors.change { $0.append(error) }
        }
      }
      #expect(errors.value == [.invalidParameter, .invalidParameter])
    }

    @Test func `F37: one answer decides a whole chain`() async throws {
      let (_, received) = try await gathering(.chain, allows: true, expecting: 0) { _, out in
        out.block()
      }
      #expect(received == [0])
    }

    @Test func `F37: a vector has an answer for each frame, at one layer after the other`()
      async throws
    {
      let half = Self.frameCount / 2
      let (calls, received) = try await gathering(
        .vector, allows: false, layers: [.inboundMACFrameNative, .inboundMACFrameEthernet],
        expecting: half
      ) { frames, out in
        for index in 0..<frames.count {
          out.select(index)
          if let sequence = frames.frame(at: index).sequence, sequence % 2 == 1 { out.block() }
        }
      }
      #expect(calls == [Int(Self.frameCount), Int(half)])
      #expect(received == (0...half).map { 2 * $0 })
    }

    @Test func `F33: four fragments are four frames, and one datagram at transport`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        let (frames, packets) = (Shared(0), Shared(0))
        let bridge = injectingBridge()
        let policy = framePolicy(
          [.inboundMACFrameEthernet, .inboundTransportV4],
          conditions: [Condition(.etherType, .equal(0x0800))],
          packets: { _, _ in packets.change { $0 += 1 } }
        ) { _, _ in frames.change { $0 += 1 } }
        let receiver = Receiver()
        try await running(bridge, policy) {
          Sender(in: "p1", to: "10.9.1.1").send(1, size: 5000)
          try await expectSoon { receiver.count == 1 }
          #expect(frames.value == 4 && packets.value == 1)
        }
      }
    }
  }
}
