// SPDX-License-Identifier: Apache-2.0

import Kernel
import Logging
import PacketTagging
import Synchronization
import Testing

@testable import CalloutBridge

/// The order in which events are handed out.
@Suite struct EventStreamTests {
  @Test func `events come in the order of their times, those of one time as they were told`() {
    var order = EventOrder()
    for (number, time) in [5, 3, 9, 3, 5].enumerated() {
      var event = LifeEvent()
      event.time = UInt64(time)
      event.context = UInt64(number)
      order.add(event)
    }
    var taken: [UInt64] = []
    order.take(upTo: 5) { taken.append($0.context) }
    #expect(taken == [1, 3, 0, 4])
    order.take(upTo: .max) { taken.append($0.context) }
    #expect(taken == [1, 3, 0, 4, 2])
    #expect(order.isEmpty)
  }

  @Test func `more events than wait in order are all handed out at the end`() throws {
    let count = EventOrder.capacity + 50_000
    let ring = EventRing<LifeEvent>(capacity: 1 << 19)
    let clock = EventClock()
    // A worker that is held up: nothing may be handed out before the end.
    clock.begin(1)
    let handedOut = Atomic<Int>(0)
    let stream = EventStream(logger: Logger(label: "test")) { _ in }
    let notify = stream.register("count") { _ in handedOut.add(1, ordering: .relaxed) }
    for _ in 0..<count {
      var event = LifeEvent()
      event.time = 2
      event.notify = notify
      #expect(ring.push(event))
    }
    try stream.start([EventSource(ring: ring, clock: clock)], delay: 80_000_000)
    stream.stop(forGood: true)
    #expect(handedOut.load(ordering: .relaxed) == count)
  }
}
