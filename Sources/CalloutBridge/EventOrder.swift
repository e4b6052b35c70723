// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging

/// Events that wait until no earlier one can come.
///
/// A worker tells of an end that the kernel brought about some time after it happened, so what its
/// ring holds is in order packet by packet, but not packet beside packet.
struct EventOrder {
  /// No more are taken in, so that a slow reader costs events and not memory.
  static let capacity = 1 << 18
  private var waiting: [LifeEvent] = []
  private var isSorted = true

  var isFull: Bool { waiting.count >= Self.capacity }
  var isEmpty: Bool { waiting.isEmpty }

  mutating func add(_ event: LifeEvent) {
    if let last = waiting.last, last.time > event.time { isSorted = false }
    waiting.append(event)
  }

  /// Gives out, in the order of their times, all that happened up to `watermark`; of one time, in the
  /// order in which they came.
  mutating func take(upTo watermark: UInt64, _ body: (LifeEvent) -> Void) {
    if !isSorted {
      waiting.sort { $0.time < $1.time }  // stable
      isSorted = true
    }
    let count = waiting.firstIndex { $0.time > watermark } ?? waiting.count
    for event in waiting[..<count] { body(event) }
    waiting.removeFirst(count)
  }
}
