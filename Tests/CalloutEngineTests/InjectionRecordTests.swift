// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Testing

@testable import CalloutEngine

@Suite struct InjectionRecordTests {
  let bench = Bench()

  private func injected(_ context: UInt64 = 0, place: UInt64 = 1) throws -> UInt32 {
    var trace = InjectionTrace()
    try trace.note(InjectionHandleID(rawValue: 1), context: context)
    var packet = TaggedPacket()
    packet.isClone = true
    try bench.out.beginInjection(of: &packet, trace, at: place)
    return packet.handle
  }

  @Test func `a record is found by its handle, and where it was injected it is another's`() throws {
    let handle = try InjectionHandle(InjectionHandleID(rawValue: 1), kinds: .l2)
    let other = try InjectionHandle(InjectionHandleID(rawValue: 2), kinds: .l2)
    let numbers = try (0..<100).map { try injected(UInt64($0), place: 5) }
    for (context, number) in numbers.enumerated() {
      bench.out.packet.handle = number
      for (place, state) in [
        (0, .injectedBySelf), (4, .injectedBySelf), (5, .previouslyInjectedBySelf),
      ] as [(UInt64, InjectionState)] {
        bench.out.place = place
        let found = bench.out.injectionState(for: handle)
        #expect(found.state == state && found.context == UInt64(context))
        #expect(bench.out.injectionState(for: other).state == .injectedByOther)
      }
    }
    bench.out.packet.handle = 0
    #expect(bench.out.injectionState(for: handle).state == .notInjected)
    bench.out.contexts.endInjection(numbers[3])
    bench.out.packet.handle = numbers[3]
    #expect(bench.out.injectionState(for: handle).state == .notInjected)
  }

  @Test func `records are bounded, and those of ended handles make room`() throws {
    bench.out.injections = InjectionRecords(limit: 4)
    let numbers = try (0..<4).map { _ in try injected() }
    let live = bench.out.contexts.isInjected(numbers[0])
    #expect(live)
    #expect(throws: TaggingError.handlesExhausted) { try injected() }
    bench.out.contexts.endInjection(numbers[1])
    let handle = try injected()
    bench.out.packet.handle = handle
    #expect(bench.out.injectionTrace.hops == 1)
  }
}
