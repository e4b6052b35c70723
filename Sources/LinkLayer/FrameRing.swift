// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Kernel

/// The frames that a helper device was given, in memory that the kernel fills.
///
/// `TPACKET_V2` with `PACKET_VNET_HDR`. Frames that a slot cannot hold come whole by `recv`, into
/// buffers of which there are only so many that they stay in the cache.
@safe
struct FrameRing: ~Copyable {
  /// The longest frame that comes whole, with all that lies before it.
  static let largeBytes = 68 << 10
  /// How many of those a batch may hold.
  static let largeFrames = 16
  /// Buffers for frames that are replaced by longer ones.
  static let spareFrames = 8

  private let descriptor: OwnedDescriptor
  private let memory: UnsafeMutableRawPointer
  private let large: UnsafeMutableRawPointer
  private let slots: Int
  /// The first slot that has not been taken.
  private var next = 0
  /// How many before it are still to be given back.
  private var taken = 0
  private var largeTaken = 0
  private var sparesTaken = 0
  /// How many looks in a row have found nothing.
  private var emptyLooks = 0

  /// Frames that no slot and no buffer was free for.
  private(set) var ringLosses: UInt64 = 0
  /// Frames longer than any buffer, or cut short.
  private(set) var truncated: UInt64 = 0
  /// What was no frame with a prefix.
  private(set) var malformed: UInt64 = 0

  /// Opens the ring at a device; `slots` is a power of two.
  static func open(device: UInt32, slots: Int) throws(SystemError) -> FrameRing {
    var memory: UnsafeMutableRawPointer?
    let descriptor = try OwnedDescriptor(
      checking: unsafe clx_open_ring(device, UInt32(slots), &memory),
      operation: "open a packet ring")
    guard let memory = unsafe memory else {
      throw SystemError("map a packet ring", errno: ENOMEM)
    }
    return unsafe FrameRing(descriptor, memory, slots: slots)
  }

  private init(
    _ descriptor: consuming OwnedDescriptor, _ memory: UnsafeMutableRawPointer, slots: Int
  ) {
    self.descriptor = descriptor
    unsafe self.memory = memory
    self.slots = slots
    unsafe large = .allocate(
      byteCount: (Self.largeFrames + Self.spareFrames) * Self.largeBytes, alignment: 4096)
  }

  deinit {
    unsafe large.deallocate()
    unsafe munmap(memory, slots * Int(CLX_SLOT_BYTES))
  }

  var pollDescriptor: CInt { descriptor.number }

  /// Takes what waits, as far as the batch has room; returns how many frames had to be given up.
  mutating func fill(_ batch: inout FrameBatch, form: FrameForm) -> UInt64 {
    let lostBefore = truncated &+ malformed
    while !batch.isFull, largeTaken < Self.largeFrames, taken < slots {
      let place = unsafe memory + (next & (slots &- 1)) &* Self.slotBytes
      var slot = clx_slot()
      guard unsafe clx_read_slot(place, &slot) else { break }
      next &+= 1
      taken &+= 1
      // Asked for only now: it costs a call.
      if slot.status & Self.losing != 0 { noteLosses() }
      let isCopied = slot.status & Self.copied != 0
      guard let found = unsafe isCopied ? receiveLarge() : region(place, slot) else {
        continue
      }
      if !batch.append(found.region, count: found.count, form) { malformed &+= 1 }
    }
    emptyLooks = batch.count == 0 ? emptyLooks &+ 1 : 0
    // Two calls: not for each look in vain between frames.
    if emptyLooks == 2 || emptyLooks & 63 == 63 {
      // An error that nobody takes would wake the poller for ever.
      _ = clx_take_error(descriptor.number)
      // No frame may come any more to tell of those before it.
      noteLosses()
    }
    return truncated &+ malformed &- lostBefore
  }

  /// Gives all that was taken back to the kernel, in order.
  mutating func returnTaken() {
    for number in (next &- taken)..<next {
      unsafe clx_return_slot(memory + (number & (slots &- 1)) &* Self.slotBytes)
    }
    taken = 0
    largeTaken = 0
    sparesTaken = 0
  }

  /// A buffer for a frame that outgrows its own, until the batch is given back.
  mutating func takeSpare() -> FrameRegion? {
    guard sparesTaken < Self.spareFrames else { return nil }
    sparesTaken &+= 1
    return largeRegion(Self.largeFrames &+ sparesTaken &- 1)
  }

  /// Asks the kernel how many frames found no room.
  ///
  /// `PACKET_STATISTICS`.
  mutating func noteLosses() {
    let losses = clx_ring_losses(descriptor.number)
    if losses > 0 { ringLosses &+= UInt64(losses) }
  }

  private static var slotBytes: Int { Int(CLX_SLOT_BYTES) }
  private static var copied: UInt32 { UInt32(CLX_SLOT_COPY) }
  private static var losing: UInt32 { UInt32(CLX_SLOT_LOSING) }

  /// The bytes of a slot from the virtio header on; the rest of it is room to grow.
  private mutating func region(
    _ place: UnsafeMutableRawPointer, _ slot: clx_slot
  ) -> (region: FrameRegion, count: Int)? {
    let start = Int(slot.offset) &- FrameEnvelope.virtioBytes
    let count = FrameEnvelope.virtioBytes &+ Int(slot.captured)
    guard start >= 0, start <= Self.slotBytes, count <= Self.slotBytes &- start else {
      malformed &+= 1
      return nil
    }
    guard slot.captured == slot.length else {
      truncated &+= 1
      return nil
    }
    let region = unsafe FrameRegion(place + start, capacity: Self.slotBytes &- start)
    return (region, count)
  }

  private mutating func receiveLarge() -> (region: FrameRegion, count: Int)? {
    let region = largeRegion(largeTaken)
    // An error of the device comes before the frame, which is there.
    for _ in 0..<4 {
      let count = unsafe recv(
        descriptor.number, region.base, region.capacity, CInt(MSG_DONTWAIT | MSG_TRUNC))
      if count < 0, errno != EAGAIN { continue }
      guard count >= 0, count <= region.capacity else { break }
      largeTaken &+= 1
      return (region, count)
    }
    truncated &+= 1
    return nil
  }

  private func largeRegion(_ index: Int) -> FrameRegion {
    unsafe FrameRegion(large + index &* Self.largeBytes, capacity: Self.largeBytes)
  }
}
