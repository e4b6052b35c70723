// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
public import PacketTagging
internal import Synchronization

/// A packet or frame that a filter or callout blocked at once.
///
/// Not one that was absorbed, or that waited and was blocked later. Mirrors
/// `FWPM_NET_EVENT_CLASSIFY_DROP2`, at the layers of frames `FWPM_NET_EVENT_CLASSIFY_DROP_MAC0`.
public struct ClassifyDrop: Sendable {
  /// CLOCK_MONOTONIC in nanoseconds.
  public var time: UInt64
  /// Which filter of the policy decided, from 0; that of `statistics().filterHits`.
  public var filter: Int
  /// Its name.
  public var filterName: String
  /// The callout that it asked, nil if it asked none.
  public var callout: String?
  /// The layer.
  public var layer: Layer
  /// Whether a higher sublayer had permitted it for good, which only a callout overrides.
  public var isVeto: Bool
  /// Its id in its queue, 0 for diverted frames.
  public var packetID: UInt32
  /// The queue of the worker that decided.
  public var queue: UInt16
  /// The device by which it came, 0 if there is none.
  public var inputDevice: UInt32
  /// The device by which it would have left, 0 if there is none or it is not known yet.
  public var outputDevice: UInt32
  /// Its length in bytes.
  public var originalLength: UInt32
  /// Its beginning: from the IP header on, of frames from the link header on.
  public var bytes: [UInt8]
}

/// The blocks from now on; ends with this object, or by `end`.
public final class DropWatch: Sendable {
  private let session: DropSession
  private let bridge: Bridge

  init(_ session: DropSession, _ bridge: Bridge) {
    self.session = session
    self.bridge = bridge
  }

  deinit {
    Task { [bridge, session] in await bridge.endDropWatch(session) }
  }

  /// Blocks that found no room since the watch began; take them more often.
  public var lost: UInt64 { session.lost.load(ordering: .relaxed) }

  /// Takes what was blocked since the last call, in the order of blocking for each queue.
  public func take() -> [ClassifyDrop] { session.take() }

  /// Ends the watch.
  public func end() async { await bridge.endDropWatch(session) }
}

/// What is written of each block, before its first bytes.
struct DropRecord: BitwiseCopyable {
  var time: UInt64
  /// The number of the policy that `filter` is of.
  var policy: UInt32
  var filter: Int32
  var packetID: UInt32
  var inputDevice: UInt32
  var outputDevice: UInt32
  var originalLength: UInt32
  var layer: UInt16
  var isVeto: Bool
}

/// One watch: a ring for each worker, read by one taker at a time.
final class DropSession: Sendable {
  /// Room for what a worker blocks between two takings.
  private static let ringBytes = 1 << 20
  /// Enough for link, IP and transport headers.
  static let headBytes = 128
  /// Policies whose blocks may still lie in the rings.
  private static let keptPolicies = 4

  let lost = Atomic<UInt64>(0)
  let rings: [RecordRing<DropRecord>]
  private let firstQueue: UInt16
  private let policies = Mutex<[(number: UInt32, policy: FilterPolicy)]>([])
  private let isTaking = Mutex(())

  init(queues: ClosedRange<UInt16>) {
    firstQueue = queues.lowerBound
    rings = queues.map { _ in RecordRing(capacity: Self.ringBytes) }
  }

  /// Learns a policy before it is in force.
  func learn(_ policy: FilterPolicy, number: UInt32) {
    policies.withLock { policies in
      // The last one of that number may have been refused.
      policies.removeAll { $0.number == number }
      policies.append((number, policy))
      if policies.count > Self.keptPolicies { policies.removeFirst() }
    }
  }

  func take() -> [ClassifyDrop] {
    isTaking.withLock { _ in
      let policies = policies.withLock { $0 }
      var drops: [ClassifyDrop] = []
      for (shard, ring) in rings.enumerated() {
        while let (record, bytes) = ring.pop() {
          let policy = policies.last { $0.number == record.policy }?.policy
          let number = Int(record.filter)
          guard let filters = policy?.filters, filters.indices.contains(number) else {
            lost.add(1, ordering: .relaxed)
            continue
          }
          drops.append(
            ClassifyDrop(record, filters[number], bytes, queue: firstQueue + UInt16(shard)))
        }
      }
      return drops
    }
  }
}

extension ClassifyDrop {
  fileprivate init(_ record: DropRecord, _ filter: Filter, _ bytes: [UInt8], queue: UInt16) {
    time = record.time
    self.filter = Int(record.filter)
    filterName = filter.name
    callout = filter.action.callout
    layer = Layer(rawValue: record.layer) ?? .inboundIPPacketV4
    isVeto = record.isVeto
    packetID = record.packetID
    self.queue = queue
    inputDevice = record.inputDevice
    outputDevice = record.outputDevice
    originalLength = record.originalLength
    self.bytes = bytes
  }
}
