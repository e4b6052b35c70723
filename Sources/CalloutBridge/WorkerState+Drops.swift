// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging
internal import PacketViews
internal import Synchronization

// Blocks are told to those who watch; nothing is paid while nobody does but a test at each block.
extension WorkerState {
  /// Tells of a packet that is blocked.
  @inline(__always)
  mutating func tellDrop(
    _ decision: Decision, _ packet: borrowing ClassifiedPacket, at layer: Layer
  ) {
    if dropTaps.isEmpty { return }
    let metadata = packet.metadata
    tellDrop(
      decision, at: layer, packet.bytes, id: metadata.packetID,
      from: metadata.inputDevice, to: metadata.outputDevice, length: metadata.originalLength)
  }

  /// Tells of a frame that is blocked.
  @inline(__always)
  mutating func tellDrop(
    _ decision: Decision, _ bytes: RawSpan, _ metadata: CalloutEngine.FrameMetadata,
    at layer: Layer, id: UInt32
  ) {
    if dropTaps.isEmpty { return }
    let isInbound = layer.direction != .outbound
    tellDrop(
      decision, at: layer, bytes, id: id, from: isInbound ? metadata.interfaceIndex : 0,
      to: isInbound ? 0 : metadata.interfaceIndex, length: metadata.originalLength)
  }

  @inline(never)
  private mutating func tellDrop(
    _ decision: Decision, at layer: Layer, _ bytes: RawSpan, id: UInt32, from input: UInt32,
    to output: UInt32, length: UInt32
  ) {
    guard decision.filter >= 0 else { return }
    let record = DropRecord(
      time: now, policy: flowUse.generation, filter: decision.filter, packetID: id,
      inputDevice: input, outputDevice: output, originalLength: length, layer: layer.rawValue,
      isVeto: decision.isVeto)
    let head = bytes.slice(from: 0, length: DropSession.headBytes)
    for tap in dropTaps where !tap.rings[shard].push(record, head) {
      tap.lost.add(1, ordering: .relaxed)
    }
  }
}
