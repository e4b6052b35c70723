// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl

/// What has become known of one association: its events in their order.
struct Life {
  /// Which association it is, as long as it lives.
  struct Key: Hashable {
    var tag: String
    var context: String
    var handle: UInt32

    init(_ event: EventLine) {
      tag = event.tag
      context = event.context
      handle = event.handle
    }
  }

  /// More events of one life are counted, not kept.
  static let maximumEvents = 256

  /// The event that came first.
  let first: EventLine
  private(set) var events: [EventLine]
  /// Events that were not kept.
  private(set) var omitted = 0

  init(_ first: EventLine) {
    self.first = first
    events = [first]
  }

  /// Adds the next event; the one that ends the life is always kept.
  mutating func add(_ event: EventLine) {
    if events.count < Self.maximumEvents || event.event == Self.end {
      events.append(event)
    } else {
      omitted += 1
    }
  }

  /// The life with its next event.
  consuming func adding(_ event: EventLine) -> Life {
    var life = self
    life.add(event)
    return life
  }

  /// The name of the event that ends a life.
  static let end = "context_removed"

  /// The event that came last.
  var last: EventLine { events.last ?? first }
  var hasEnded: Bool { last.event == Self.end }
  /// The context under its tag's name.
  var name: String { "\(first.tagName ?? first.tag)=\(first.context)" }
  /// The layer at which the context was put on, or the first that is known.
  var origin: String { first.associatedAt ?? first.layer }
  /// From the first event to the last, in nanoseconds.
  var duration: UInt64 { Self.time(from: first, to: last) }

  /// Nanoseconds between two events, 0 if the second was first.
  static func time(from earlier: EventLine, to later: EventLine) -> UInt64 {
    later.time > earlier.time ? later.time - earlier.time : 0
  }
}
