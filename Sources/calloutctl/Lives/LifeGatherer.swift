// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl

/// Puts events together to lives.
struct LifeGatherer {
  private var open: [Life.Key: (life: Life, number: Int)] = [:]
  /// The open lives in the order of their beginning, among others that have ended.
  private var order: [(key: Life.Key, number: Int)] = []
  private var head = 0
  private var begun = 0
  private let capacity: Int
  /// Lives that were given up for want of room, the oldest first.
  private(set) var forgotten = 0

  init(capacity: Int = 65536) { self.capacity = max(capacity, 1) }

  /// Lives that have not ended.
  var openCount: Int { open.count }

  /// Adds an event; the life that it ends, if it ends one.
  mutating func add(_ event: EventLine) -> Life? {
    let key = Life.Key(event)
    if event.event == Life.end {
      return open.removeValue(forKey: key)?.life.adding(event) ?? Life(event)
    }
    if open[key] != nil {
      open[key]?.life.add(event)
    } else {
      begin(key, event)
    }
    return nil
  }

  private mutating func begin(_ key: Life.Key, _ event: EventLine) {
    if open.count == capacity { forgetOldest() }
    begun += 1
    open[key] = (Life(event), begun)
    order.append((key, begun))
    if order.count > 4 * capacity {
      order = order[head...].filter { open[$0.key]?.number == $0.number }
      head = 0
    }
  }

  private mutating func forgetOldest() {
    while head < order.count {
      let (key, number) = order[head]
      head += 1
      guard open[key]?.number == number else { continue }
      open[key] = nil
      forgotten += 1
      return
    }
  }
}
