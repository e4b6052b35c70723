// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import PacketTagging
internal import PacketViews

/// The heads of the tagged packets that were met last, to be shown if the kernel drops them.
struct DepartedHeads {
  private struct Head: BitwiseCopyable {
    var handle: UInt32 = 0
    var length = 0
    var layer = Layer.inboundIPPacketV4
    var hook = Hook.prerouting
    var metadata = PacketMetadata()
  }

  /// One for each packet that is under way at once, mostly.
  private static let capacity = 4096
  /// Enough for IP and transport headers.
  private static let longest = 256

  private var heads: [Head] = []
  private var memory: [UInt8] = []

  /// Whether anybody asks for them; memory is held only then.
  var isKept = false {
    didSet {
      guard isKept != oldValue else { return }
      heads = isKept ? [Head](repeating: Head(), count: Self.capacity) : []
      memory = isKept ? [UInt8](repeating: 0, count: Self.capacity * Self.longest) : []
    }
  }

  /// Keeps the head of a packet that bears a handle, in the place of an earlier one.
  mutating func keep(_ packet: borrowing ClassifiedPacket, at layer: Layer, under handle: UInt32) {
    guard handle != 0, isKept else { return }
    let place = Int(handle) % Self.capacity
    let length = min(packet.bytes.byteCount, Self.longest)
    heads[place] = Head(
      handle: handle, length: length, layer: layer, hook: packet.hook, metadata: packet.metadata)
    let start = place * Self.longest
    for index in 0..<length { memory[start + index] = packet.bytes.byte(at: index) }
  }

  /// Shows what is known of the packet that bore a handle, once.
  mutating func take(_ handle: UInt32, _ body: (borrowing ClassifiedPacket) -> Void) {
    guard isKept else { return }
    let place = Int(handle) % Self.capacity
    let head = heads[place]
    guard head.handle == handle else { return }
    heads[place] = Head()
    let bytes = memory.span.packetBytes.slice(from: place * Self.longest, length: head.length)
    guard let layout = try? PacketLayout(parsing: bytes) else { return }
    body(
      ClassifiedPacket(
        bytes: bytes, layout: layout, layer: head.layer, metadata: head.metadata, hook: head.hook))
  }
}

// What was dropped is shown at discard layers, where nothing can be decided.
extension WorkerState {
  /// The reason that stands for a filter's or callout's block.
  private static let blocked: UInt32 = 0

  /// Shows a packet that was blocked, and keeps the head of one that goes on with a tag.
  ///
  /// Not what is absorbed, as in WFP, nor what waits and is blocked later.
  @inline(never)
  mutating func follow(
    _ packet: borrowing ClassifiedPacket, _ decision: Decision, at layer: Layer,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>
  ) {
    switch decision.outcome {
    case .block:
      show(packet, droppedAt: layer, for: Self.blocked, policy, callouts)
      out.packet.layer = layer.rawValue
    case .absorb: break
    default: heads.keep(packet, at: layer, under: out.packet.handle)
    }
  }

  /// Shows the tagged packets that the kernel has dropped.
  mutating func showDrops() {
    let drops = out.contexts.takeDrops()
    guard !drops.isEmpty else { return }
    let (policy, callouts) = (policy, heldCallouts)
    var heads = DepartedHeads()
    swap(&heads, &self.heads)
    for drop in drops {
      heads.take(drop.handle) { packet in
        out.beginPacket()
        out.packet = TaggedPacket()
        show(packet, droppedAt: packet.layer, for: drop.reason, policy, callouts.span)
      }
    }
    swap(&heads, &self.heads)
    out.beginPacket()
  }

  private mutating func show(
    _ packet: borrowing ClassifiedPacket, droppedAt layer: Layer, for reason: UInt32,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>
  ) {
    guard let discard = layer.discard, policy.hasFilters(at: discard) else { return }
    out.packet.layer = discard.rawValue
    _ = out.evaluate(packet.discarded(at: layer, for: reason), policy, callouts, hits: &hits)
  }
}
