// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import Foundation
import Kernel
import PacketTagging
import PacketViews

/// Answers a packet with continue or permit.
final class Answering: Callout {
  private let permits: Bool

  init(permits: Bool) { self.permits = permits }

  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    if permits { out.permit() } else { out.continue() }
  }
}

/// A desk for packets that never leave the call.
final class IdleDesk: PacketDesk {
  func decide(_ ticket: UInt64, _ decision: PendedDecision) {}
  func withContexts<Result: Sendable>(
    ofTicket ticket: UInt64, _ body: @Sendable (inout ContextTable, inout TaggedPacket) -> Result
  ) -> Result? { nil }
  func free(clone packet: TaggedPacket) {}
  func inject(clone packet: TaggedPacket, _ bytes: [UInt8]) throws(InjectionError) {
    throw .closed
  }
  func boundQueues() -> [UInt16] { [] }
}

/// The CPU seconds since the program's start.
var seconds: Double { Double(clock()) / Double(CLOCKS_PER_SEC) }

// The subject of the cases filters/*: `filter-cost FILTERS [ROUNDS]`, what a packet and what the
// compiler cost. In one round 1024 packets are looked up five times.
let arguments = CommandLine.arguments.dropFirst().map { Int($0) ?? 0 }
guard (1...2).contains(arguments.count), let count = arguments.first,
  arguments.allSatisfy({ (1...1_000_000).contains($0) })
else {
  print("usage: filter-cost FILTERS [ROUNDS]")
  exit(64)
}
var mixed = MixedPolicy(random: SeededGenerator(state: 7))
let filters = mixed.filters(count)
let packets = (0..<1024).map { _ in mixed.packet(filters) }
let registrations = [
  CalloutRegistration(name: "continue") { Answering(permits: false) },
  CalloutRegistration(name: "look") { Answering(permits: false) },
  CalloutRegistration(name: "permit") { Answering(permits: true) },
]
let sublayers = [
  Sublayer(name: "a", weight: 1), Sublayer(name: "b", weight: 2), Sublayer(name: "c", weight: 3),
]
let start = seconds
let policy = try CompiledPolicy(
  FilterPolicy(sublayers: sublayers, callouts: registrations, filters: filters))
let compile = seconds - start
var out = Classification(
  contexts: ContextTable(
    ContextTable.Options(field: nil), issuer: TagIssuer(), events: EventRing(capacity: 64)),
  desk: IdleDesk(), pendDeadline: 1_000_000_000)
out.contexts.now = 1_000_000_000
var hits = [UInt64](repeating: 0, count: count)
let callouts = registrations.map { $0.makeInstance() }
let held = callouts.map { HeldObject(heldByCaller: $0) }
var metadata = PacketMetadata()
metadata.originalLength = 40
metadata.outputDevice = 2
metadata.userID = 1000
metadata.groupID = 150

let rounds = arguments.count > 1 ? arguments[1] : 200
var best = Double.infinity
for attempt in 0..<6 {
  let start = seconds
  for _ in 0..<(attempt == 0 ? 1 : rounds) {
    for packet in packets {
      out.packet = TaggedPacket()
      let span = packet.span.packetBytes
      let layout = try PacketLayout(parsing: span)
      let view = ClassifiedPacket(
        bytes: span, layout: layout, layer: .outboundTransportV4, metadata: metadata)
      _ = out.evaluate(view, policy, held.span, hits: &hits)
    }
  }
  // The first round warms up.
  if attempt > 0 { best = min(best, seconds - start) }
}
withExtendedLifetime((callouts, policy)) {}
let nanoseconds = best / Double(rounds * packets.count) * 1e9
print("{\"nanoseconds\": \(nanoseconds), \"compile_seconds\": \(compile)}")
