// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import Logging
import PacketTagging
import PacketViews
import Synchronization
import Testing

typealias ClassifyBody = @Sendable (borrowing ClassifiedPacket, inout Classification) -> Void
typealias PendedBody = @Sendable (consuming PendedPacket) -> Void

/// A callout made of closures.
final class ClosureCallout: Callout {
  private let body: ClassifyBody
  private let pendedBody: PendedBody?

  init(_ body: @escaping ClassifyBody, pended: PendedBody? = nil) {
    self.body = body
    pendedBody = pended
  }

  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    body(packet, &out)
  }

  override func pended(_ packet: consuming PendedPacket) { pendedBody?(packet) }
}

extension ClassifiedPacket {
  /// The sequence number with which `Sender` begins each datagram.
  var sequence: UInt64 { layout.payload(in: bytes).bigEndian64(at: 0) }
}

/// A value that callouts on any thread change.
final class Shared<Value: Sendable>: Sendable {
  private let storage: Mutex<Value>
  init(_ value: Value) { storage = Mutex(value) }
  var value: Value { storage.withLock { $0 } }
  func change(_ body: (inout Value) -> Void) { storage.withLock { body(&$0) } }
}

/// Events that a notify function was called with.
final class EventLog: Sendable {
  private let events = Mutex<[LifeEvent]>([])
  func note(_ event: LifeEvent) { events.withLock { $0.append(event) } }
  var all: [LifeEvent] { events.withLock { $0 } }
  var kinds: [LifeEventKind] { all.map(\.kind) }
  func reasons(_ tag: ContextTag? = nil) -> [RemovalReason] {
    all.filter { $0.kind == .contextRemoved && (tag == nil || $0.tag == tag) }.map(\.reason)
  }
}

/// A policy of one callout at some layers, for UDP unless told otherwise.
func policy(
  _ layers: [Layer], tags: [ContextTag] = [], needs: NeededBytes = .headers,
  protocolNumber: UInt8? = 17, revision: String = "", pended: PendedBody? = nil,
  _ body: @escaping ClassifyBody
) -> FilterPolicy {
  FilterPolicy(
    callouts: [
      CalloutRegistration(name: "test", revision: revision, neededBytes: needs, tags: tags) {
        ClosureCallout(body, pended: pended)
      }
    ],
    filters: layers.map { layer in
      Filter(
        name: layer.name, layer: layer,
        conditions: protocolNumber.map { [Condition(.ipProtocol, .equal(UInt128($0)))] } ?? [],
        action: .calloutUnknown("test"))
    })
}

let wideMask: UInt32 = 0x3fff_ff00

/// A logger that keeps what it is told.
struct LogKeeper: LogHandler {
  let lines: Shared<[String]>
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.info
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }
  func log(event: LogEvent) { lines.change { $0.append(event.message.description) } }
}

/// A bridge whose events come from verdicts, unless told otherwise.
func makeBridge(
  log: Shared<[String]> = Shared([]), _ change: (inout BridgeConfiguration) -> Void = { _ in }
) -> Bridge {
  var configuration = BridgeConfiguration()
  configuration.stateDirectory = nil
  configuration.mark = .mask(wideMask)
  configuration.lifecycle = .verdicts
  change(&configuration)
  return Bridge(configuration, logger: Logger(label: "test") { _ in LogKeeper(lines: log) })
}

/// Starts the bridge, runs the body, and stops it whatever happens; its rules must be gone then.
func running(
  _ bridge: Bridge, _ policy: FilterPolicy, _ body: () async throws -> Void
) async throws {
  try await bridge.start(policy)
  let result: Result<Void, any Error>
  do {
    try await body()
    result = .success(())
  } catch {
    result = .failure(error)
  }
  let report = await bridge.stop()
  try result.get()
  #expect(report.rulesRemoved, "\(report.notes)")
}

/// contract 12: what met the rules and the ids that were issued must be accounted for.
func expectAccounting(
  _ bridge: Bridge, location: SourceLocation = #_sourceLocation
) async throws {
  let all = try await bridge.statistics()
  var dropped: UInt64 = 0
  var issued: UInt64 = 0
  for queue in all.queues {
    #expect(
      queue.idsIssued
        == queue.verdicts + queue.flushed + queue.idGaps + UInt64(queue.waiting),
      "ids of queue \(queue.number): \(queue)", sourceLocation: location)
    dropped += UInt64(queue.queueDropped)
    issued += queue.idsIssued - queue.handedOver
  }
  if let packets = all.rulePackets {
    #expect(
      packets == issued + dropped + (all.failOpenPasses ?? 0),
      "rules \(packets), issued \(issued), dropped \(dropped), passed \(all.failOpenPasses ?? 0)",
      sourceLocation: location)
  }
  #expect(all.tagging.associated == all.tagging.ended + all.tagging.live, sourceLocation: location)
}

/// Whether no packet waits in a queue and no context is left: between two batches there may be none
/// although more packets wait.
func isQuiet(_ bridge: Bridge) async throws -> Bool {
  let statistics = try await bridge.statistics()
  return statistics.tagging.live == 0 && statistics.queues.allSatisfy { $0.waiting == 0 }
}

/// Expects that a condition comes to hold within ten seconds.
func expectSoon(
  location: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
  let holds = try await eventually(within: .seconds(10), condition)
  #expect(holds, "did not come to hold", sourceLocation: location)
}
