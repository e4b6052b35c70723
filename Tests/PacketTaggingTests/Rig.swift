// SPDX-License-Identifier: Apache-2.0

import Kernel

@testable import PacketTagging

/// A packet as its worker sees it.
final class TestPacket {
  var packet = TaggedPacket()
  var handle: UInt32 { packet.handle }
}

/// A table with its clock and its stream, driven by hand.
final class Rig {
  static let flow: UInt32 = 0x1111_2222
  var table: ContextTable
  let issuer = TagIssuer()
  let ring: EventRing<LifeEvent>
  private var lastID: UInt32 = 0

  init(
    mask: UInt32? = 0x00ff_ff00, ring: Int = 4096, epoch: Bool = false, shard: Int = 0,
    shards: Int = 1, handles: Int = 1 << 20, hops: UInt8 = 64,
    sweepAfter: UInt64 = 2_000_000_000, source: (any SightingSource)? = nil
  ) {
    self.ring = EventRing(capacity: ring)
    table = ContextTable(
      ContextTable.Options(
        field: mask.flatMap { MarkField(mask: $0) }, epoch: epoch, shard: shard, shards: shards,
        maximumHandles: handles, sweepAfter: sweepAfter, rest: 50_000_000, maximumHops: hops),
      issuer: issuer, events: self.ring, source: source)
    table.isWatched = true
    table.now = 10_000_000_000
  }

  var counters: TaggingCounters { table.counters }

  func tag(_ disposition: CopyDisposition = .share) -> ContextTag {
    issuer.makeTag(onCopy: disposition) ?? ContextTag(rawValue: 0)
  }

  func advance(_ milliseconds: UInt64) { table.now += milliseconds * 1_000_000 }

  func packet(
    layer: Layer = .inboundIPPacketV4, flow: UInt32 = Rig.flow, isClone: Bool = false
  ) -> TestPacket {
    let new = TestPacket()
    lastID += 1
    new.packet.id = lastID
    new.packet.layer = layer.rawValue
    new.packet.fingerprint = flow
    new.packet.isClone = isClone
    return new
  }

  /// Nil if it was done.
  func put(
    _ context: UInt64, _ tag: ContextTag, _ packet: TestPacket, notify: UInt32 = 0,
    flags: UInt32 = 0
  ) -> TaggingError? {
    refusal {
      try self.table.associate(
        context, with: tag, on: &packet.packet, notify: NotifyID(rawValue: notify), flags: flags)
    }
  }

  /// A packet that bears `contexts`.
  func tagged(_ contexts: [(UInt64, ContextTag)]) -> TestPacket {
    let new = packet()
    for (context, tag) in contexts { _ = put(context, tag, new) }
    return new
  }

  func get(_ tag: ContextTag, _ packet: TestPacket, removing: Bool = false) -> UInt64? {
    try? table.retrieve(tag, from: &packet.packet, removing: removing)
  }

  func refusal(_ body: () throws -> Void) -> TaggingError? {
    do {
      try body()
      return nil
    } catch {
      return error as? TaggingError
    }
  }

  /// A packet with `handle` in its mark comes to a hook.
  func meet(
    _ handle: UInt32, at hook: Hook, flow: UInt32 = Rig.flow, isBridged: Bool = false
  ) -> TestPacket {
    meet(
      packet(layer: Layer(hook: hook, isIPv6: false), flow: flow), handle, HookSet(hook), flow,
      isBridged: isBridged)
  }

  /// A frame with `handle` in its mark comes to a place on a bridge or at a device.
  func meet(_ handle: UInt32, atPlace place: HookSet) -> TestPacket {
    meet(packet(layer: .egressVSwitchEthernet), handle, place, Rig.flow, isBridged: true)
  }

  private func meet(
    _ new: TestPacket, _ handle: UInt32, _ place: HookSet, _ flow: UInt32, isBridged: Bool
  ) -> TestPacket {
    let encounter = table.meet(
      Arrival(
        mark: table.mark(0xff00_00ff, bearing: handle), id: new.packet.id, place: place,
        layer: new.packet.layer, fingerprint: flow, isBridged: isBridged))
    switch encounter {
    case .untagged: break
    case .bearer(let handle): new.packet.handle = handle
    case .looping(let handle):
      new.packet.handle = handle
      new.packet.isClone = true  // Not a clone: the rig's sign for looping.
    }
    return new
  }

  func letGo(_ packet: TestPacket, from hook: Hook, towardsLoopback: Bool = false) {
    table.depart(packet.handle, Departure(from: hook, towardsLoopback: towardsLoopback))
  }

  func finish(_ packet: TestPacket, _ reason: RemovalReason, exits: Bool = false) {
    table.finish(packet.handle, reason, layer: packet.packet.layer, exits: exits)
  }

  func move(_ tag: ContextTag, _ from: TestPacket, _ to: TestPacket) -> TaggingError? {
    refusal { try self.table.move(tag, from: &from.packet, to: &to.packet) }
  }

  func copy(_ tag: ContextTag, _ from: TestPacket, _ to: TestPacket) -> TaggingError? {
    refusal { try self.table.copy(tag, from: from.packet, to: &to.packet) }
  }

  func countRepeat(_ packet: TestPacket, at hook: Hook) -> Bool {
    table.countRepeat(&packet.packet, at: hook, limit: 4)
  }

  func knows(_ handle: UInt32) -> Bool { table.isInjected(handle) }

  func publish() -> Bool { table.publishEvents() }

  /// Every event that the stream holds.
  func events() -> [LifeEvent] {
    var all: [LifeEvent] = []
    repeat {
      _ = table.publishEvents()
      while let event = ring.pop() { all.append(event) }
    } while table.eventBacklog > 0
    return all
  }

  /// The events' names and ends, in order.
  func story() -> [String] {
    events().map { $0.kind == .contextRemoved ? $0.reason.name : $0.kind.name }
  }
}
