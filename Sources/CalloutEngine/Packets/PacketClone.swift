// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// A copy of a packet that a callout owns; freed, with its contexts, when it goes.
///
/// Mirrors the result of `FwpsAllocateCloneNetBufferList0`.
public struct PacketClone: ~Copyable, Sendable {
  /// The packet from its IP header on; the callout may change it.
  public var bytes: [UInt8]
  package var packet: TaggedPacket
  private let desk: any PacketDesk
  private var isSent = false

  init(bytes: [UInt8], like original: TaggedPacket, desk: any PacketDesk) {
    self.bytes = bytes
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
  /// Mirrors `FwpsInjectNetworkSendAsync0`.
  ///
  /// If the kernel refuses, the contexts end as if the clone had been freed.
  public consuming func injectSend() throws(InjectionError) {
    try desk.inject(clone: packet, bytes)
    isSent = true
  }

  deinit {
    if !isSent { desk.free(clone: packet) }
  }
}
