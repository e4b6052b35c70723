// SPDX-License-Identifier: Apache-2.0

internal import PacketViews
internal import Synchronization

/// What the instances of one built-in callout have counted, summed when somebody asks.
///
/// Each instance writes into a tally of its own, so workers do not contend for a cache line.
public final class TallyBoard: Sendable {
  private let tallies = Mutex<[PacketTally]>([])

  /// A board with nothing counted.
  public init() {}

  /// A tally for one more instance.
  func makeTally() -> PacketTally {
    let tally = PacketTally()
    tallies.withLock { $0.append(tally) }
    return tally
  }

  /// Packets that callouts of this board have seen.
  public var packets: UInt64 { sum { $0.packets.load(ordering: .relaxed) } }

  /// The seen packets' lengths in bytes, from their IP headers on; frames' from their MAC headers.
  public var bytes: UInt64 { sum { $0.bytes.load(ordering: .relaxed) } }

  /// Packets for which a callout was refused what it does: a context, a rewrite.
  public var refused: UInt64 { sum { $0.refused.load(ordering: .relaxed) } }

  private func sum(_ value: (PacketTally) -> UInt64) -> UInt64 {
    tallies.withLock { $0.reduce(0) { $0 &+ value($1) } }
  }
}

/// One instance's counters: written by its worker, read by anybody.
final class PacketTally: Sendable {
  let packets = Atomic<UInt64>(0)
  let bytes = Atomic<UInt64>(0)
  let refused = Atomic<UInt64>(0)
  /// Keeps the next tally off this one's cache line.
  private let padding: [8 of UInt64] = .init(repeating: 0)

  func count(_ packet: borrowing ClassifiedPacket) {
    Self.add(1, to: packets)
    Self.add(UInt64(packet.metadata.originalLength), to: bytes)
  }

  func count(_ frame: borrowing ClassifiedFrame) {
    Self.add(1, to: packets)
    Self.add(UInt64(frame.metadata.originalLength), to: bytes)
  }

  func countRefusal() { Self.add(1, to: refused) }

  /// There is one writer, so no locked instruction is needed.
  private static func add(_ amount: UInt64, to counter: borrowing Atomic<UInt64>) {
    counter.store(counter.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
  }
}
