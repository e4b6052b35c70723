// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl

/// A life as people read it: a head line, then one line an event.
enum Timeline {
  static func text(_ life: Life) -> String {
    let first = life.first
    var head = "\(life.name) handle \(first.handle)"
    if first.packetID != 0 { head += " packet \(first.packetID)" }
    head += " queue \(first.queue) \(life.origin)"
    if life.hasEnded {
      head += ": \(life.last.reason ?? "ended") after \(milliseconds(life.duration)) ms"
    }
    var lines = [head]
    var previous = first
    for event in life.events {
      lines.append(line(of: event, first, previous))
      previous = event
    }
    if life.omitted > 0 { lines.append("  and \(life.omitted) events between the last two") }
    return lines.joined(separator: "\n")
  }

  private static func line(
    of event: EventLine, _ first: EventLine, _ previous: EventLine
  ) -> String {
    let since = milliseconds(Life.time(from: first, to: event))
    let step = "+" + milliseconds(Life.time(from: previous, to: event))
    return [
      right(since, 10) + " ms", right(step, 9), left(event.event, 19), left(event.layer, 21),
      left(event.certainty, 8), details(of: event),
    ].joined(separator: "  ").trimmingEnd()
  }

  /// How it ended, by which device, for what reason and where.
  private static func details(of event: EventLine) -> String {
    var words: [String] = []
    if let reason = event.reason { words.append(reason) }
    if let reason = event.dropReason { words.append(reason) }
    if let place = event.place { words.append("in \(place)") }
    if event.isRead == true { words.append("and read") }
    if let device = event.device { words.append("on \(device)") }
    if let other = event.otherPacketID { words.append("copy is packet \(other)") }
    if let other = event.otherHandle { words.append("other handle \(other)") }
    return words.joined(separator: " ")
  }

  /// Nanoseconds as milliseconds with three decimals.
  static func milliseconds(_ nanoseconds: UInt64) -> String {
    let fraction = "\(nanoseconds % 1_000_000 / 1000)"
    return "\(nanoseconds / 1_000_000)."
      + String(repeating: "0", count: 3 - fraction.count) + fraction
  }

  private static func left(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}

extension String {
  fileprivate func trimmingEnd() -> String {
    var text = self
    while text.last == " " { text.removeLast() }
    return text
  }
}
