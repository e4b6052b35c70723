// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// A copy of a packet that a callout owns; freed, with its contexts, when it goes.
///
/// Mirrors the result of `FwpsAllocateCloneNetBufferList0`.
public struct PacketClone: ~Copyable, Sendable {
  /// The packet from its IP header on; the callout may change it.
  public var bytes: [UInt8]
  package var packet: TaggedPacket
  /// With what the original was injected.
  let trace: InjectionTrace
  private let desk: any PacketDesk
  private var isSent = false

  init(
    bytes: [UInt8], like original: TaggedPacket, _ trace: InjectionTrace, desk: any PacketDesk
  ) {
    self.bytes = bytes
    self.trace = trace
    packet = original
    packet.handle = 0
    packet.id = 0
    packet.isClone = true
    self.desk = desk
  }

  /// The clone's handle, 0 if it bears no contexts.
  public var handle: UInt32 { packet.handle }

  /// Sends the clone as a packet of this host; it comes by OUTPUT and our layers there, with its
  /// contexts and marked as injected.
  ///
  /// The short form of `Bridge.injectNetworkSend`, which mirrors `FwpsInjectNetworkSendAsync0`: no
  /// handle knows it later, and it is done when the call returns.
  ///
  /// If the kernel refuses, the contexts end as if the clone had been freed.
  public consuming func injectSend() throws(InjectionError) {
    try desk.inject(clone: packet, bytes)
    isSent = true
  }

  /// Ends the clone without ending its contexts, which are now the caller's business.
  package consuming func take() -> (bytes: [UInt8], packet: TaggedPacket) {
    isSent = true
    return (bytes, packet)
  }

  deinit {
    if !isSent { desk.free(clone: packet) }
  }
}
