// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import PacketTagging
internal import Synchronization

/// Lines on their way to one client: many events share a write, and a slow client holds up only
/// its own stream.
final class EventBuffer: Sendable {
  /// So many bytes may wait; beyond, events wait in the bridge's stream, which counts its losses.
  private static let limit = 4 << 20

  /// One element whenever there may be something to take; ends after `finish`.
  let signals: AsyncStream<Void>
  private let signal: AsyncStream<Void>.Continuation
  private let bytes = Mutex<[UInt8]>([])

  init() {
    (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// Appends a line.
  func append(_ line: EventLine) {
    bytes.withLock { line.appendJSON(to: &$0) }
    signal.yield()
  }

  /// Appends a line of JSON; the newline is added.
  func append(_ line: [UInt8]) {
    bytes.withLock { bytes in
      bytes += line
      bytes.append(UInt8(ascii: "\n"))
    }
    signal.yield()
  }

  /// Waits while the client is so slow that no more should be appended.
  func waitForRoom() async throws {
    while bytes.withLock({ $0.count >= Self.limit }) { try await Task.sleep(for: .milliseconds(5)) }
  }

  /// Takes everything that waits.
  func take() -> [UInt8] {
    bytes.withLock { bytes in
      defer { bytes = [] }
      return bytes
    }
  }

  /// Nothing more comes.
  func finish() { signal.finish() }
}

/// The bridge's events as lines, of one tag if so asked.
struct EventLines: AsyncSequence {
  let events: AsyncStream<LifeEvent>
  let bridge: Bridge
  let tagName: String?

  struct AsyncIterator: AsyncIteratorProtocol {
    var events: AsyncStream<LifeEvent>.Iterator
    let bridge: Bridge
    let tagName: String?
    /// A tag's name never changes.
    var names: [ContextTag: String] = [:]

    mutating func next() async -> EventLine? {
      while let event = await events.next() {
        if names[event.tag] == nil { names[event.tag] = bridge.name(of: event.tag) }
        let found = names[event.tag]
        if let tagName, found != tagName { continue }
        return EventLine(event, tagName: found, details: bridge.details(of: event))
      }
      return nil
    }
  }

  func makeAsyncIterator() -> AsyncIterator {
    AsyncIterator(events: events.makeAsyncIterator(), bridge: bridge, tagName: tagName)
  }
}
