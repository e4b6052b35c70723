// SPDX-License-Identifier: Apache-2.0

import Kernel
import PacketTagging
import PacketViews
import Synchronization

@testable import CalloutEngine

/// SplitMix64: the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}

/// IP packets with right checksums.
enum Make {
  static func sum(_ parts: [UInt8]...) -> UInt16 {
    var total = 0
    for part in parts {
      for (index, byte) in part.enumerated() { total += Int(byte) << (index % 2 == 0 ? 8 : 0) }
    }
    while total > 0xffff { total = total & 0xffff + total >> 16 }
    return ~UInt16(total)
  }

  static func big(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }

  static func address(_ high: UInt64, _ low: UInt64) -> [UInt8] {
    [high, low].flatMap { half in
      (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * $0)) }
    }
  }

  /// UDP (17), TCP (6) or ICMP (1; the ports are type and code).
  static func transport(_ number: UInt8, _ source: Int, _ target: Int, _ data: [UInt8]) -> [UInt8] {
    switch number {
    case 17: big(source) + big(target) + big(8 + data.count) + [0, 0] + data
    case 6: big(source) + big(target) + [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0] + data
    default: [UInt8(source & 255), UInt8(target & 255), 0, 0, 0, 1, 0, 1] + data
    }
  }

  static func ipv4(
    _ number: UInt8, from: [UInt8] = [10, 0, 0, 1], to: [UInt8] = [10, 0, 0, 2], source: Int = 4000,
    target: Int = 53, offset: Int = 0, data: [UInt8] = [1, 2, 3, 4, 5]
  ) -> [UInt8] {
    var body = transport(number, source, target, data)
    let pseudo = number == 1 || number == 58 ? [] : from + to + [0, number] + big(body.count)
    let place = number == 17 ? 6 : number == 6 ? 16 : 2
    body.replaceSubrange(place..<place + 2, with: big(Int(sum(pseudo, body))))
    var header: [UInt8] =
      [0x45, 0] + big(20 + body.count) + [0, 1] + big(offset / 8)
      + [64, number, 0, 0] + from + to
    header.replaceSubrange(10..<12, with: big(Int(sum(header))))
    return header + body
  }

  static func ipv6(
    _ number: UInt8, from: [UInt8], to: [UInt8], source: Int = 4000, target: Int = 53
  ) -> [UInt8] {
    var body = transport(number, source, target, [1, 2, 3])
    let pseudo = from + to + [0, 0] + big(body.count) + [0, 0, 0, number]
    let place = number == 17 ? 6 : number == 6 ? 16 : 2
    body.replaceSubrange(place..<place + 2, with: big(Int(sum(pseudo, body))))
    return [0x60, 0, 0, 0] + big(body.count) + [number, 64] + from + to + body
  }
}

/// A desk that remembers what was asked of it.
final class FakeDesk: PacketDesk {
  let bound: Set<UInt16> = [31001]
  let decisions = Mutex<[String]>([])
  let freed = Mutex<[TaggedPacket]>([])
  let injected = Mutex<[(packet: TaggedPacket, bytes: [UInt8])]>([])
  let refusesInjection = Mutex(false)

  func decide(_ ticket: UInt64, _ decision: PendedDecision) {
    decisions.withLock { $0.append("\(ticket) \(decision)") }
  }

  func withContexts<Result: Sendable>(
    ofTicket ticket: UInt64,
    _ body: @escaping @Sendable (inout ContextTable, inout TaggedPacket) -> Result
  ) -> Result? { nil }

  func free(clone packet: TaggedPacket) { freed.withLock { $0.append(packet) } }

  func inject(clone packet: TaggedPacket, _ bytes: [UInt8]) throws(InjectionError) {
    guard !refusesInjection.withLock({ $0 }) else { throw .refused(errno: 1, text: "no") }
    injected.withLock { $0.append((packet, bytes)) }
  }

  func boundQueues() -> [UInt16] { Array(bound) }
}

/// A callout made of a closure.
final class Scripted: Callout {
  let body: (borrowing ClassifiedPacket, inout Classification) -> Void
  init(_ body: @escaping (borrowing ClassifiedPacket, inout Classification) -> Void) {
    self.body = body
  }
  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    body(packet, &out)
  }
}

/// One worker's engine without a worker.
final class Bench {
  let desk = FakeDesk()
  let issuer = TagIssuer()
  let ring = EventRing<LifeEvent>(capacity: 1024)
  var out: Classification
  var hits: [UInt64] = []
  var policy: CompiledPolicy?
  var callouts: [Callout] = []

  init(pendDeadline: UInt64 = 5_000) {
    var table = ContextTable(
      ContextTable.Options(field: MarkField(mask: 0xffff00)), issuer: issuer, events: ring)
    table.isWatched = true
    table.now = 1_000_000
    out = Classification(contexts: table, desk: desk, pendDeadline: pendDeadline)
  }

  func tag() -> ContextTag { issuer.makeTag() ?? ContextTag(rawValue: 0) }

  func adopt(
    _ filters: [Filter], sublayers: [Sublayer] = [],
    _ scripts: [(String, (borrowing ClassifiedPacket, inout Classification) -> Void)] = []
  ) throws {
    policy = try CompiledPolicy(
      FilterPolicy(
        sublayers: sublayers,
        callouts: scripts.map { CalloutRegistration(name: $0.0) { Callout() } }, filters: filters))
    callouts = scripts.map { Scripted($0.1) }
    hits = [UInt64](repeating: 0, count: filters.count)
  }

  /// Has the policy in force decide a packet.
  func decide(
    _ bytes: [UInt8] = Make.ipv4(17), at layer: Layer = .inboundIPPacketV4,
    metadata: PacketMetadata = PacketMetadata(), captured: Int? = nil
  ) throws -> Decision {
    let span = bytes.span.packetBytes.slice(from: 0, length: captured ?? bytes.count)
    let layout = try PacketLayout(parsing: span)
    out.packet = TaggedPacket()
    out.packet.id = 1
    out.packet.layer = layer.rawValue
    out.answer = .none
    out.rewritten.reset()
    guard let policy else { return Decision() }
    let callouts = callouts.map { HeldObject(heldByCaller: $0) }
    let packet = ClassifiedPacket(bytes: span, layout: layout, layer: layer, metadata: metadata)
    return out.evaluate(packet, policy, callouts.span, hits: &hits)
  }

  /// What the packet would be replaced with.
  var rewritten: [UInt8] { Self.copy(out.rewritten) }

  private static func copy(_ packet: borrowing RewrittenPacket) -> [UInt8] {
    let contents = packet.contents
    return contents.indices.map { contents[$0] }
  }

  func events() -> [LifeEvent] {
    _ = out.contexts.publishEvents()
    var all: [LifeEvent] = []
    while let event = ring.pop() { all.append(event) }
    return all
  }
}

func filter(
  _ action: FilterAction, _ conditions: [Condition] = [], sublayer: String = "default",
  weight: FilterWeight = .automatic, layer: Layer = .inboundIPPacketV4
) -> Filter {
  Filter(
    name: "f", layer: layer, sublayer: sublayer, weight: weight, conditions: conditions,
    action: action)
}

extension Decision {
  var text: String { "\(outcome)" }
}
