// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Synchronization
import Testing

@testable import CalloutEngine

/// A Boolean that tasks share.
final class Flag: Sendable {
  let value = Mutex(false)
}

@Suite struct InjectionHandleTests {
  static func handle(
    _ kinds: InjectionKinds, family: InjectionFamily = .ipv4
  ) throws -> InjectionHandle {
    try InjectionHandle(InjectionHandleID(rawValue: 1), kinds: kinds, family: family)
  }

  @Test func `a handle of IP packets is for one family, and of what is known`() throws {
    _ = try Self.handle([.l2, .transport, .forward], family: .unspecified)
    _ = try Self.handle(.network, family: .ipv6)
    #expect(throws: InjectionError.familyRequired) {
      try Self.handle([.l2, .network], family: .unspecified).id
    }
    #expect(throws: InjectionError.unknownKinds(0x40)) {
      try Self.handle(InjectionKinds(rawValue: 0x50)).id
    }
  }

  @Test func `kinds have WFP's values, and none of them means three`() {
    let all: [InjectionKinds] = [.stream, .transport, .network, .forward, .l2, .vSwitchTransport]
    #expect(all.map(\.rawValue) == [1, 2, 4, 8, 0x10, 0x20])
    #expect(InjectionKinds([]).resolved == [.transport, .stream, .forward])
    #expect(InjectionKinds.l2.resolved == .l2)
    #expect(InjectionKinds(all) == .known)
  }

  @Test func `F42: a handle of another kind is stale`() throws {
    for kinds in [[], .network, [.transport, .forward]] as [InjectionKinds] {
      #expect(throws: InjectionError.handleStale) { try Self.handle(kinds).require(.l2) }
    }
    try Self.handle([.l2, .network]).require(.l2)
    #expect(InjectionError.handleStale.status == 0xc022_0102)
  }

  @Test func `F43: a closing handle refuses, and destroying waits for what is pending`()
    async throws
  {
    let handle = try Self.handle(.l2)
    try handle.begin(3)
    let isDestroyed = Flag()
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        await handle.destroy()
        isDestroyed.value.withLock { $0 = true }
      }
      while (try? handle.require(.l2)) != nil { await Task.yield() }
      #expect(throws: InjectionError.handleClosing) { try handle.begin() }
      handle.complete(2)
      for _ in 0..<100 { await Task.yield() }
      let isEarly = isDestroyed.value.withLock { $0 }
      #expect(!isEarly && handle.pendingCount == 1)
      handle.complete()
    }
    let isDone = isDestroyed.value.withLock { $0 }
    #expect(isDone && handle.pendingCount == 0)
    await handle.destroy()
    #expect(InjectionError.handleClosing.status == 0xc022_0101)
  }

  @Test func `completing more than is pending does no harm`() throws {
    var ledger = InjectionLedger()
    try ledger.begin(1)
    #expect(!ledger.complete(5) && ledger.pending == 0)
    ledger.close()
    #expect(ledger.isDrained && !ledger.complete(1))
  }

  @Test func `F48: without a callout's filter at the layer nothing is injected there`() throws {
    let handle = try Self.handle(.l2)
    let registration = CalloutRegistration(name: "c") { Callout() }
    let policy = FilterPolicy(
      callouts: [registration],
      filters: [
        filter(.permit, layer: .outboundMACFrameEthernet),
        filter(.calloutUnknown("c"), layer: .inboundMACFrameEthernet),
      ])
    let layers = policy.injectableLayers
    try handle.require(.inbound, at: .inboundMACFrameEthernet, among: layers)
    #expect(throws: InjectionError.noCallout(layer: .outboundMACFrameEthernet)) {
      try handle.require(.outbound, at: .outboundMACFrameEthernet, among: layers)
    }
    for (direction, layer) in [
      (.outbound, .inboundMACFrameEthernet), (.inbound, .outboundMACFrameNative),
      (.inbound, .inboundIPPacketV4),
    ] as [(Direction, Layer)] {
      #expect(throws: InjectionError.wrongLayer(layer)) {
        try handle.require(direction, at: layer, among: Set(Layer.allCases))
      }
    }
  }

  @Test func `every refusal says what to do`() {
    for error in [
      .notReady, .handleClosing, .handleStale, .noCallout(layer: .inboundMACFrameNative),
      .wrongLayer(.streamV4), .completionRequired, .malformedFrame, .tooManyHops,
    ] as [InjectionError] {
      #expect(error.description.contains(";"), "\(error)")
    }
    #expect(InjectionError.notReady.status == 0xc022_0100)
    #expect(InjectionError.completionRequired.status == 0xc000_000d)
  }
}

@Suite struct PendingInjectionTests {
  final class Segments: Sendable {
    let list = Mutex<[InjectionSegment]>([])
    var note: InjectionCompletion { { segment in self.list.withLock { $0.append(segment) } } }
    var all: [InjectionSegment] { list.withLock { $0 } }
  }

  let segments = Segments()
  let handle: InjectionHandle

  init() throws { handle = try InjectionHandleTests.handle(.l2) }

  @Test func `F44: only an unaltered original goes without a completion function`() throws {
    #expect(throws: InjectionError.completionRequired) {
      _ = try PendingInjection.begin(1, with: handle, needsCompletion: true, nil).count
    }
    #expect(handle.pendingCount == 0)
    var pending = try PendingInjection.begin(1, with: handle, needsCompletion: false, nil)
    pending.complete(1, .success)
    #expect(handle.pendingCount == 0)
    let bench = Bench()
    var needs: [Bool] = []
    try bench.withFrame { frame, out in
      if let held = try? out.reference(frame) {
        let original = InjectableFrame.original(held)
        needs.append(original.needsCompletion)
        needs.append(original.bytes != MakeFrame.ethernet())
      }
      if let clone = try? out.clone(frame) {
        needs.append(InjectableFrame.clone(clone).needsCompletion)
      }
    }
    let invented = InjectableFrame.invented([1])
    needs.append(invented.needsCompletion)
    #expect(needs == [false, false, true, true])
  }

  @Test func `F46: completions cover the whole chain, each frame once`() throws {
    do {
      var pending = try PendingInjection.begin(
        5, with: handle, needsCompletion: true, segments.note)
      pending.complete(2, .success)
      pending.complete(0, .success)
      pending.complete(-3, .success)
      pending.complete(1, .mediaDisconnected)
      #expect(handle.pendingCount == 2)
      pending.complete(9, .success)
      let isComplete = pending.isComplete
      #expect(isComplete && handle.pendingCount == 0)
    }
    #expect(
      segments.all == [
        InjectionSegment(first: 0, count: 2, status: .success),
        InjectionSegment(first: 2, count: 1, status: .mediaDisconnected),
        InjectionSegment(first: 3, count: 2, status: .success),
      ])
  }

  @Test func `what is dropped is completed as cancelled`() throws {
    do {
      var pending = try PendingInjection.begin(
        3, with: handle, needsCompletion: true, segments.note)
      pending.complete(1, .success)
    }
    #expect(segments.all.last == InjectionSegment(first: 1, count: 2, status: .cancelled))
    #expect(handle.pendingCount == 0)
  }

  @Test func `F45: a refused injection completes nothing and gives the frame back`() async throws {
    await handle.destroy()
    let frame = InjectableFrame.invented([1, 2, 3])
    let outcome = inject(frame)
    guard case .refused(let error, let returned) = outcome else {
      Issue.record("it was not refused")
      return
    }
    let bytes = returned.bytes
    #expect(error == .handleClosing && bytes == [1, 2, 3] && segments.all.isEmpty)
  }

  private func inject(_ frame: consuming InjectableFrame) -> InjectionOutcome {
    do throws(InjectionError) {
      let pending = try PendingInjection.begin(
        1, with: handle, needsCompletion: frame.needsCompletion, segments.note)
      _ = pending.count
      return .started
    } catch {
      return .refused(error, frame)
    }
  }
}

@Suite struct InjectionStatusTests {
  @Test func `F47: the sign says whether it was injected`() {
    #expect(InjectionStatus(errno: 0) == .success && InjectionStatus.success.isSuccess)
    #expect(InjectionStatus.byHelper.isSuccess && InjectionStatus.byHelper.rawValue > 0)
    for (errno, expected) in [
      (100, .mediaDisconnected), (105, .insufficientResources), (90, .invalidBufferSize),
      (6, .noSuchDevice), (19, .noSuchDevice), (1, .accessDenied), (22, .invalidParameter),
      (9999, .unsuccessful), (-1, .unsuccessful),
    ] as [(Int32, InjectionStatus)] {
      #expect(InjectionStatus(errno: errno) == expected)
      #expect(!expected.isSuccess && expected.rawValue < 0)
      #expect(!"\(expected)".isEmpty)
    }
    #expect("\(InjectionStatus(rawValue: -1))" == "0xffffffff")
  }
}

@Suite struct InjectionTraceTests {
  let own = InjectionHandleID(rawValue: 1)
  let other = InjectionHandleID(rawValue: 2)

  @Test func `F49: a packet is native, own, another's, or own and then another's`() throws {
    var trace = InjectionTrace()
    #expect(trace.state(for: own).state == .notInjected)
    #expect(trace.state(for: own, isForeign: true).state == .injectedByOther)
    try trace.note(own, context: 77)
    #expect(trace.state(for: own) == (.injectedBySelf, 77))
    #expect(trace.state(for: own, isForeign: true) == (.previouslyInjectedBySelf, 77))
    #expect(trace.state(for: other) == (.injectedByOther, nil))
    try trace.note(other, context: 88)
    #expect(trace.state(for: own) == (.previouslyInjectedBySelf, 77))
    #expect(trace.state(for: other) == (.injectedBySelf, 88))
    try trace.note(own, context: 99)
    #expect(trace.state(for: own) == (.injectedBySelf, 99))
    #expect(
      [
        InjectionState.notInjected, .injectedBySelf, .injectedByOther, .previouslyInjectedBySelf,
      ].map(\.rawValue) == [0, 1, 2, 3])
    #expect(InjectionState.previouslyInjectedBySelf.isOwn && !InjectionState.injectedByOther.isOwn)
  }

  @Test func `F50: two that inject each other's packets come to an end`() throws {
    var trace = InjectionTrace()
    for hop in 0..<InjectionTrace.maximumHops {
      try trace.note(hop % 2 == 0 ? own : other, context: UInt64(hop))
    }
    #expect(throws: InjectionError.tooManyHops) { try trace.note(own, context: 0) }
    #expect(trace.hops == InjectionTrace.maximumHops)
    #expect(trace.state(for: other) == (.injectedBySelf, 7))
  }

  @Test func `of many handles the oldest are forgotten`() throws {
    var trace = InjectionTrace()
    for number in 1...6 {
      try trace.note(InjectionHandleID(rawValue: UInt32(number)), context: UInt64(number))
    }
    #expect(trace.state(for: InjectionHandleID(rawValue: 2)).state == .injectedByOther)
    for number in 3...6 {
      let found = trace.state(for: InjectionHandleID(rawValue: UInt32(number)))
      #expect(found.context == UInt64(number) && found.state.isOwn)
    }
  }
}
