// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews
internal import Synchronization

/// Where one worker copies tagged packets to.
struct CaptureTap {
  let session: CaptureSession
  let ring: RecordRing<CaptureRecord>
}

// Somebody captures: a packet that was tagged is copied once more; else nothing is paid but a test.
extension WorkerState {
  /// Copies tagged packets from now on, as long as the kernel grants the options.
  mutating func beginCapture(_ session: CaptureSession, _ options: QueueOptions)
    throws(BridgeError)
  {
    try reconfigure(options)
    tap = CaptureTap(session: session, ring: session.rings[shard])
  }

  mutating func endCapture(_ options: QueueOptions) {
    tap = nil
    // Where this fails, more is copied than needed.
    try? reconfigure(options)
  }

  /// Copies the packet, which has just been tagged; out of line, as it is seldom needed.
  @inline(never)
  mutating func copyForCapture(_ packet: borrowing ClassifiedPacket) {
    guard let tap else { return }
    let contexts = out.contexts.contextCount(on: out.packet, under: tap.session.tag)
    guard contexts > 0 else { return }
    let metadata = packet.metadata
    let record = CaptureRecord(
      time: now, handle: out.packet.handle, packetID: metadata.packetID,
      inputDevice: metadata.inputDevice, outputDevice: metadata.outputDevice,
      originalLength: metadata.originalLength, layer: packet.layer.rawValue,
      contexts: UInt16(contexts))
    let bytes = packet.bytes.slice(from: 0, length: tap.session.snap)
    if !tap.ring.push(record, bytes) { tap.session.lost.add(1, ordering: .relaxed) }
  }
}
