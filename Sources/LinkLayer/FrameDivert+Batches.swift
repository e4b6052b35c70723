// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Kernel
public import PacketViews

/// Why a frame cannot be replaced; it stays as it was.
public enum FrameReplacementError: Error, Hashable, Sendable {
  /// The new frame is shorter than a MAC header, or empty on a raw-IP device.
  case tooShort
  /// It is longer than any buffer.
  case tooLong
  /// Too many frames of this batch have outgrown their places: flush, or drop it.
  case noBuffer
}

extension FrameDivert {
  /// Takes what waits, without blocking; returns how many frames the batch holds now.
  ///
  /// Frames of an earlier batch are flushed first.
  public mutating func receive() -> Int {
    if batch.count > 0 { flush() }
    let losses = ring.ringLosses
    let givenUp = ring.fill(&batch, form: port.form)
    tally.received &+= UInt64(batch.count)
    noteHandled(givenUp &+ ring.ringLosses &- losses)
    if batch.count == 0 { ring.returnTaken() }
    removal.isRingEmpty = batch.count == 0
    return batch.count
  }

  /// The frame at `index`, which must be below what `receive` returned.
  @_lifetime(borrow self)
  public func frame(_ index: Int) -> DivertedFrame {
    DivertedFrame(bytes: batch.bytes(index), metadata: batch[index].envelope.metadata)
  }

  /// Lets a frame go on, with a mark; of several decisions the last counts.
  ///
  /// All 32 bits but the injected one are the frame's from then on: keep those of others.
  public func permit(_ index: Int, mark: UInt32) {
    batch[index].mark = mark
    batch[index].outcome = .permitted
  }

  /// Lets other bytes go on in the place of a frame.
  ///
  /// `offload` says what of them is left for the device to do, counted from their first byte.
  public mutating func permit(
    _ index: Int, mark: UInt32, replacement: RawSpan, offload: FrameOffload = FrameOffload()
  ) throws(FrameReplacementError) {
    let count = replacement.byteCount
    guard count >= (isRawIP ? 1 : FrameEnvelope.macBytes) else { throw .tooShort }
    let start = batch[index].envelope.frameStart
    guard count <= FrameRing.largeBytes - start else { throw .tooLong }
    if count > batch[index].region.capacity - start {
      guard let spare = ring.takeSpare() else { throw .noBuffer }
      batch.move(index, to: spare)
    }
    guard batch.replace(index, with: replacement, offload) else { throw .tooLong }
    tally.replaced &+= 1
    permit(index, mark: mark)
  }

  /// Has a frame vanish: whoever wants it later has copied it.
  public func drop(_ index: Int) { batch[index].outcome = .dropped }

  /// Carries the outcomes of a batch out, and ends it.
  ///
  /// The kernel carries the frames on inside this call. `failed` is told of each permitted frame that
  /// could not be put back, by its index.
  public mutating func flush(_ failed: (Int, FrameSendResult) -> Void = { _, _ in }) {
    let count = batch.count
    guard count > 0 else { return }
    collect()
    if phase != .detached { port.state.add(UInt64(transmission.count), to: .sent) }
    // While the program goes, nobody may be left to take the bit away; the helper's program does it.
    if phase == .closing, detour != nil {
      sendByDetour(failed)
    } else {
      send(failed)
    }
    if removal.wasForced { tally.overtaken &+= UInt64(transmission.count) }
    transmission.removeAll()
    batch.removeAll()
    ring.returnTaken()
    noteHandled(UInt64(count))
  }

  /// Reads each frame's cell once.
  private mutating func collect() {
    let bit = phase == .detached && detour != nil ? 0 : options.injectedBit
    for index in 0..<batch.count {
      switch batch[index].outcome {
      case .permitted: break
      case .dropped:
        tally.dropped &+= 1
        continue
      case .undecided:
        tally.undecided &+= 1
        if options.failurePolicy == .block { continue }
      }
      let priority = batch[index].envelope.metadata.priority
      let mark = batch[index].mark & ~options.injectedBit | bit
      unsafe transmission.append(
        batch[index].message, frame: index, mark: mark, priority: priority, trail: trail(index))
    }
  }

  /// What tells other engines that we have had a frame.
  private func trail(_ index: Int) -> FrameTrail {
    batch[index].envelope.metadata.trail.adding(options.injectedBit)
  }

  private mutating func send(_ failed: (Int, FrameSendResult) -> Void) {
    var next = 0
    while next < transmission.count {
      let taken = transmission.send(from: next, by: socket)
      if taken > 0 {
        tally.permitted &+= UInt64(taken)
        next &+= taken
        continue
      }
      if errno == EINTR { continue }
      // No second try: what a full queue dropped has been there.
      var result = FrameSendResult(errno: errno)
      if result == .tooLong, detour != nil { result = sendByDetour(transmission.frame(next)) }
      note(result, next, failed)
      next &+= 1
    }
  }

  private mutating func sendByDetour(_ failed: (Int, FrameSendResult) -> Void) {
    for message in 0..<transmission.count {
      note(sendByDetour(transmission.frame(message)), message, failed)
    }
  }

  /// Sends a frame through the helper, which asks neither for the device's MTU nor for its program.
  private mutating func sendByDetour(_ index: Int) -> FrameSendResult {
    guard let detour else { return .tooLong }
    if port.form == .rawIPOutbound { batch.addLinkHeader(index) }
    tally.detoured &+= 1
    let entry = batch[index]
    return unsafe detour.send(
      UnsafeRawBufferPointer(entry.message), UnsafeRawBufferPointer(start: nil, count: 0),
      mark: entry.mark | options.injectedBit, priority: entry.envelope.metadata.priority,
      trail: trail(index))
  }

  private mutating func note(
    _ result: FrameSendResult, _ message: Int, _ failed: (Int, FrameSendResult) -> Void
  ) {
    if result == .sent {
      tally.permitted &+= 1
      return
    }
    if phase != .detached { port.recount(unsent: transmission.count &- message &- 1) }
    tally.note(result)
    failed(transmission.frame(message), result)
  }

  /// Tells the programs that frames are no longer under way to us.
  mutating func noteHandled(_ frames: UInt64) {
    guard frames > 0 else { return }
    handled &+= frames
    port.state.store(handled, in: .handled)
  }
}
