// SPDX-License-Identifier: Apache-2.0

internal import Kernel
public import PacketTagging
internal import Synchronization

/// A packet as it was when it had been tagged at the first layer.
public struct CapturedPacket: Sendable {
  /// CLOCK_MONOTONIC in nanoseconds, as its first event has it.
  public var time: UInt64
  /// Its handle, by which its events know it.
  public var handle: UInt32
  /// Its id in its queue.
  public var packetID: UInt32
  /// The queue.
  public var queue: UInt16
  /// The layer at which it was tagged.
  public var layer: Layer
  /// The device by which it came, 0 if there is none.
  public var inputDevice: UInt32
  /// The device by which it leaves, 0 if there is none or it is not known yet.
  public var outputDevice: UInt32
  /// Its length in bytes, which may be more than were copied.
  public var originalLength: UInt32
  /// How many contexts it bore, of the tag that was asked for if one was.
  public var contexts: Int
  /// The packet from its IP header on, as far as it was asked for.
  public var bytes: [UInt8]
}

/// The packets that get tagged from now on; ends with this object, or by `end`.
///
/// While it is there, the kernel copies packets as far as it was asked for.
public final class PacketCapture: Sendable {
  private let session: CaptureSession
  private let bridge: Bridge

  init(_ session: CaptureSession, _ bridge: Bridge) {
    self.session = session
    self.bridge = bridge
  }

  deinit {
    Task { [bridge, session] in await bridge.endCapture(session) }
  }

  /// The most bytes of each packet.
  public var snap: Int { session.snap }

  /// Packets that found no room since the capture began.
  public var lost: UInt64 { session.lost.load(ordering: .relaxed) }

  /// Takes what has been captured since the last call, in the order of tagging for each queue.
  ///
  /// A packet can be taken before any of its events comes out of the event stream.
  public func take() -> [CapturedPacket] { session.take() }

  /// Ends the capture and puts the copy range back.
  public func end() async { await bridge.endCapture(session) }
}

/// What is written for each captured packet, before its bytes.
struct CaptureRecord: BitwiseCopyable {
  var time: UInt64
  var handle: UInt32
  var packetID: UInt32
  var inputDevice: UInt32
  var outputDevice: UInt32
  var originalLength: UInt32
  var layer: UInt16
  var contexts: UInt16
}

/// One capture: a ring for each worker, read by one taker at a time.
final class CaptureSession: Sendable {
  /// Room for what a worker copies between two takings.
  private static let ringBytes = 8 << 20

  let snap: Int
  let tag: ContextTag?
  let lost = Atomic<UInt64>(0)
  let rings: [RecordRing<CaptureRecord>]
  private let firstQueue: UInt16
  private let isTaking = Mutex(())

  init(snap: Int, tag: ContextTag?, queues: ClosedRange<UInt16>) {
    self.snap = snap
    self.tag = tag
    firstQueue = queues.lowerBound
    rings = queues.map { _ in RecordRing(capacity: Self.ringBytes) }
  }

  func take() -> [CapturedPacket] {
    isTaking.withLock { _ in
      var packets: [CapturedPacket] = []
      for (shard, ring) in rings.enumerated() {
        while let (record, bytes) = ring.pop() {
          packets.append(CapturedPacket(record, bytes, queue: firstQueue + UInt16(shard)))
        }
      }
      return packets
    }
  }
}

extension CapturedPacket {
  fileprivate init(_ record: CaptureRecord, _ bytes: [UInt8], queue: UInt16) {
    time = record.time
    handle = record.handle
    packetID = record.packetID
    self.queue = queue
    layer = Layer(rawValue: record.layer) ?? .inboundIPPacketV4
    inputDevice = record.inputDevice
    outputDevice = record.outputDevice
    originalLength = record.originalLength
    contexts = Int(record.contexts)
    self.bytes = bytes
  }
}
