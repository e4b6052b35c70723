// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CalloutBridge

/// The same numbers in every run.
private struct Sequence: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state ^ state >> 33
  }
}

@Suite struct PendedPacketsTests {
  /// The table against a dictionary of deadlines, through many comings, decisions and expiries.
  @Test(arguments: 0..<6) func `it keeps what waits and gives out what is due`(round: Int) {
    var random = Sequence(state: UInt64(round))
    var table = PendedPackets(capacity: 300)
    var model: [UInt64: UInt64] = [:]
    var now: UInt64 = 0
    for step in 0..<5000 as Range<UInt32> {
      now += UInt64.random(in: 0..<3, using: &random)
      if Bool.random(using: &random) {
        let isLong = Int.random(in: 0..<50, using: &random) == 0
        var entry = PendedEntry()
        entry.deadline = now + (isLong ? 1_000_000 : .random(in: 0..<2000, using: &random))
        entry.packet.id = step
        let ticket = table.insert(entry)
        #expect((ticket == nil) == (model.count == 300))
        if let ticket { model[ticket] = entry.deadline }
      } else if let ticket = model.keys.sorted().randomElement(using: &random) {
        let (first, second) = (table.remove(ticket), table.remove(ticket))
        #expect(first?.deadline == model[ticket] && second?.ticket == nil)
        model[ticket] = nil
      }
      // Odd rounds look rarely, so that much is due at once.
      if round % 2 == 0 || step % 100 == 0 {
        while let entry = table.removeExpired(now) {
          #expect(model.removeValue(forKey: entry.ticket).map { $0 <= now } == true)
        }
        #expect(model.values.allSatisfy { $0 > now })
      }
      let (count, next) = (table.count, table.nextDeadline)
      #expect(count == model.count)
      if let earliest = model.values.min() { #expect(next.map { $0 <= earliest } == true) }
    }
    let tickets = Set(table.tickets)
    #expect(tickets == Set(model.keys))
  }
}

@Suite struct FlushWatchTests {
  @Test func `what cannot be told is looked into once, until something changes`() {
    var watch = FlushWatch()
    #expect(watch.note(missing: 3, changes: 8) == true)
    #expect(watch.note(missing: 3, changes: 8) == false)
    #expect(watch.note(missing: 4, changes: 8) == true)
    #expect(watch.note(missing: 4, changes: 9) == true)
    #expect(watch.note(missing: 4, changes: 9) == false)
  }

  @Test func `suspects are the packets up to an id, also where ids begin anew`() {
    var watch = FlushWatch()
    #expect(!watch.mayHaveTaken(1))
    watch.suspect(upTo: 2)
    #expect(watch.mayHaveTaken(1) && watch.mayHaveTaken(2) && watch.mayHaveTaken(.max))
    #expect(!watch.mayHaveTaken(3))
    watch.suspect(upTo: nil)
    #expect(!watch.mayHaveTaken(1))
  }
}
