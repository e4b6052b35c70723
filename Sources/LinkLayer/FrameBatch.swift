// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// What is to become of a frame.
enum FrameOutcome: UInt8, BitwiseCopyable {
  /// Nobody has said; the failure policy does.
  case undecided
  case permitted
  case dropped
}

/// One frame of a batch: where it lies, and the one cell that holds its outcome.
struct FrameEntry {
  /// All of the memory that it may grow in.
  var region: FrameRegion
  var envelope: FrameEnvelope
  var outcome = FrameOutcome.undecided
  var mark: UInt32

  /// What is sent.
  var message: UnsafeMutableRawBufferPointer {
    unsafe region.part(from: envelope.messageStart, count: envelope.messageLength)
  }
}

/// The frames that one pass over the ring found.
@safe
struct FrameBatch: ~Copyable {
  static let capacity = 64

  private(set) var count = 0
  private let entries: UnsafeMutablePointer<FrameEntry>

  init() { unsafe entries = .allocate(capacity: Self.capacity) }

  deinit { unsafe entries.deallocate() }

  var isFull: Bool { count >= Self.capacity }

  /// Takes a frame in; false if that is none.
  mutating func append(_ region: FrameRegion, count length: Int, _ form: FrameForm) -> Bool {
    guard !isFull, let envelope = region.edit(upTo: length, { FrameEnvelope.open(&$0, form) })
    else { return false }
    unsafe (entries + count).initialize(
      to: FrameEntry(region: region, envelope: envelope, mark: envelope.metadata.mark))
    count &+= 1
    return true
  }

  mutating func removeAll() { count = 0 }

  /// The frame at `index`, which must be below `count`.
  subscript(index: Int) -> FrameEntry {
    unsafeAddress {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
      return unsafe UnsafePointer(entries + index)
    }
    nonmutating unsafeMutableAddress {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
      return unsafe entries + index
    }
  }

  /// The frame's bytes, valid until the batch is given back.
  @_lifetime(borrow self)
  func bytes(_ index: Int) -> RawSpan {
    let envelope = self[index].envelope
    let part = unsafe self[index].region.part(
      from: envelope.frameStart, count: envelope.frameLength)
    let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(part))
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// Puts other bytes in the place of a frame; false if there is no room for them.
  mutating func replace(_ index: Int, with bytes: RawSpan, _ offload: FrameOffload) -> Bool {
    var entry = self[index]
    let start = entry.envelope.frameStart
    guard entry.region.edit({ $0.copyBytes(bytes, to: start) }) else { return false }
    entry.envelope.frameLength = bytes.byteCount
    entry.envelope.metadata.offload = offload
    entry.region.edit { entry.envelope.store(offload, in: &$0) }
    self[index] = entry
    return true
  }

  /// Has a frame lie in other, larger memory at the same offset; its bytes are to be replaced.
  mutating func move(_ index: Int, to region: FrameRegion) {
    var entry = self[index]
    region.copyHead(of: entry.region, count: entry.envelope.frameStart)
    entry.region = region
    self[index] = entry
  }

  /// Gives an IP packet the MAC header for its way through the helper.
  mutating func addLinkHeader(_ index: Int) {
    var entry = self[index]
    entry.region.edit { entry.envelope.addLinkHeader(in: &$0) }
    self[index] = entry
  }
}
