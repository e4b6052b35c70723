// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl

/// A life as programs read it: one object with its events; times in nanoseconds.
struct LifeReport: Encodable {
  /// An event with the times since the life's first and since the one before.
  struct Moment: Encodable {
    var event: EventLine
    var sinceFirst: UInt64
    var sincePrevious: UInt64

    enum CodingKeys: String, CodingKey {
      case sinceFirst = "since-first"
      case sincePrevious = "since-previous"
    }

    func encode(to encoder: any Encoder) throws {
      try event.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(sinceFirst, forKey: .sinceFirst)
      try container.encode(sincePrevious, forKey: .sincePrevious)
    }
  }

  var tag: String
  var tagName: String?
  var context: String
  var handle: UInt32
  var packetID: UInt32
  var queue: UInt16
  var associatedAt: String
  var reason: String?
  var duration: UInt64
  var omitted: Int
  var events: [Moment]

  init(_ life: Life) {
    let first = life.first
    tag = first.tag
    tagName = first.tagName
    context = first.context
    handle = first.handle
    packetID = first.packetID
    queue = first.queue
    associatedAt = life.origin
    reason = life.last.reason
    duration = life.duration
    omitted = life.omitted
    events = []
    var previous = first
    for event in life.events {
      events.append(
        Moment(
          event: event, sinceFirst: Life.time(from: first, to: event),
          sincePrevious: Life.time(from: previous, to: event)))
      previous = event
    }
  }

  enum CodingKeys: String, CodingKey {
    case tag
    case tagName = "tag-name"
    case context, handle
    case packetID = "packet-id"
    case queue
    case associatedAt = "associated-at"
    case reason, duration, omitted, events
  }
}
