// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import Synchronization
import Testing

/// What a test wants to become of a frame.
enum FrameDecision {
  case permit
  case mark(UInt32)
  case drop
  case replace([UInt8])
  case leaveUndecided
}

typealias DecideBody = @Sendable (borrowing DivertedFrame) -> FrameDecision

let injectedBit: UInt32 = 0x8000_0000

/// A divert with a thread that works for it until `stop`.
final class Diversion: Sendable {
  private struct State: Sendable {
    var isWanted = true
    var isEnding = false
    var delay: UInt32 = 0
    var counters: DivertCounters?
    var phase = FrameDivert.Phase.detached
    var failures: [FrameSendResult] = []
    var error: DivertError?
  }

  let options: FrameDivertOptions
  let helperIndex: UInt32
  let attachment: DivertAttachment
  let injector: FrameInjector
  private let state = Mutex(State())
  private let thread: Mutex<Background?> = Mutex(nil)

  /// Diverts, and waits until it does so.
  init(
    _ device: String, _ direction: LinkDirection, bit: UInt32 = injectedBit,
    policy: FrameFailurePolicy = .permit, slots: Int = 4096, limit: Int? = nil,
    isWanted: Bool = true, _ decide: @escaping DecideBody = { _ in .permit }
  ) throws {
    let device = try #require(try LinkDevice.find(name: device))
    options = FrameDivertOptions(
      device: device.index, direction: direction, injectedBit: bit, failurePolicy: policy,
      slots: slots, limit: limit, attachment: EachAttachment.current)
    let divert = try FrameDivert.open(options)
    helperIndex = divert.helperIndex
    attachment = divert.attachment
    injector = try divert.makeInjector()
    state.withLock { $0.isWanted = isWanted }
    let box = Box(divert)
    thread.withLock {
      $0 = Background { [self] in
        guard var divert = box.take() else { return }
        work(&divert, decide)
      }
    }
    while isWanted && phase != .attached && error == nil { usleep(500) }
    if let error { throw error }
  }

  private final class Box: Sendable {
    private let divert: Mutex<FrameDivert?>
    init(_ divert: consuming sending FrameDivert) { self.divert = Mutex(divert) }
    func take() -> sending FrameDivert? { divert.withLock { $0.take() } }
  }

  private func work(_ divert: inout FrameDivert, _ decide: DecideBody) {
    while true {
      let (isWanted, isEnding, delay) = state.withLock { ($0.isWanted, $0.isEnding, $0.delay) }
      if isWanted, !isEnding, divert.phase == .detached {
        do throws(DivertError) {
          try divert.attach()
        } catch {
          state.withLock { $0.error = error }
          return
        }
      }
      if !isWanted || isEnding { divert.beginRemoval() }
      let count = divert.receive()
      for index in 0..<count {
        let mark = divert.frame(index).metadata.mark
        switch decide(divert.frame(index)) {
        case .permit: divert.permit(index, mark: mark)
        case .mark(let mark): divert.permit(index, mark: mark)
        case .drop: divert.drop(index)
        case .replace(let bytes):
          do throws(FrameReplacementError) {
            try divert.permit(index, mark: mark, replacement: bytes.span.bytes)
          } catch {
            Issue.record("not replaced: \(error)")
          }
        case .leaveUndecided: break
        }
      }
      divert.flush { _, result in state.withLock { $0.failures.append(result) } }
      if delay > 0, count > 0 { usleep(delay) }
      let isDetached = divert.continueRemoval()
      let counters = divert.counters
      state.withLock {
        $0.counters = counters
        $0.phase = divert.phase
      }
      if isDetached, isEnding { return }
      if count == 0 {
        var ready = pollfd(fd: divert.pollDescriptor, events: Int16(POLLIN), revents: 0)
        poll(&ready, 1, 1)
      }
    }
  }

  var counters: DivertCounters {
    get throws { try #require(state.withLock { $0.counters }) }
  }
  var phase: FrameDivert.Phase { state.withLock { $0.phase } }
  var failures: [FrameSendResult] { state.withLock { $0.failures } }
  private var error: DivertError? { state.withLock { $0.error } }

  /// Has the worker sleep after each batch.
  func slowDown(microseconds: UInt32) { state.withLock { $0.delay = microseconds } }

  /// Takes the divert down or up again, without waiting for it.
  func want(_ isWanted: Bool) { state.withLock { $0.isWanted = isWanted } }

  /// Takes it down and waits for that.
  @discardableResult
  func stop() throws -> DivertCounters {
    state.withLock { $0.isEnding = true }
    thread.withLock { $0.take() }?.join()
    return try counters
  }

  deinit { thread.withLock { $0.take() }?.join() }
}

/// Diverts both directions of a device while the body runs; nothing may be left or lost then.
func diverting(
  _ device: String, policy: FrameFailurePolicy = .permit, slots: Int = 4096,
  inbound: @escaping DecideBody = { _ in .permit },
  outbound: @escaping DecideBody = { _ in .permit },
  _ body: (_ inbound: Diversion, _ outbound: Diversion) async throws -> Void
) async throws {
  let incoming = try Diversion(device, .inbound, policy: policy, slots: slots, inbound)
  let outgoing: Diversion
  do {
    outgoing = try Diversion(device, .outbound, policy: policy, slots: slots, outbound)
  } catch {
    try incoming.stop()
    throw error
  }
  let result: Result<Void, any Error>
  do {
    try await body(incoming, outgoing)
    result = .success(())
  } catch {
    result = .failure(error)
  }
  let counters = [try incoming.stop(), try outgoing.stop()]
  try result.get()
  for each in counters { expectAccounting(each) }
}

/// What landed must be accounted for, and nothing lost without being told.
func expectAccounting(
  _ counters: DivertCounters, location: SourceLocation = #_sourceLocation
) {
  let tally = counters.tally
  #expect(
    counters.landed
      == tally.received + counters.ringLosses + counters.truncated + counters.malformed,
    "\(counters)", sourceLocation: location)
  let failed = tally.deviceDown + tally.deviceGone + tally.tooLong + tally.noRoom + tally.refused
  #expect(
    tally.received
      <= tally.permitted + tally.dropped + tally.undecided + failed,
    "\(counters)", sourceLocation: location)
  #expect(tally.unaccounted == 0, "\(counters)", sourceLocation: location)
}
