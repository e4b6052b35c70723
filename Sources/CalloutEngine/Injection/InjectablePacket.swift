// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// An IP packet that is to be injected, and whose it was.
///
/// Mirrors the `NET_BUFFER_LIST` that `FwpsInjectNetworkSendAsync0` and
/// `FwpsInjectNetworkReceiveAsync0` take. An original needs no injection: it is pended.
public enum InjectablePacket: ~Copyable, Sendable {
  /// A clone, with its contexts.
  case clone(PacketClone)
  /// A packet that somebody made up, from its IP header on.
  case invented([UInt8])

  /// The packet from its IP header on.
  public var bytes: [UInt8] {
    switch self {
    case .clone(let clone): clone.bytes
    case .invented(let bytes): bytes
    }
  }
}

extension InjectablePacket {
  /// With what it was injected before; of what somebody made up that is not known.
  package var trace: InjectionTrace {
    switch self {
    case .clone(let clone): clone.trace
    case .invented: InjectionTrace()
    }
  }

  /// The handle of a clone's contexts, 0 for none.
  package var handle: UInt32 {
    switch self {
    case .clone(let clone): clone.handle
    case .invented: 0
    }
  }

  /// Its bytes, and the packet that it is; a clone's contexts are the caller's business from now on.
  package consuming func take() -> (bytes: [UInt8], packet: TaggedPacket) {
    switch consume self {
    case .clone(let clone): return clone.take()
    case .invented(let bytes):
      var packet = TaggedPacket()
      packet.isClone = true
      return (bytes, packet)
    }
  }
}

/// What came of the call that injects a packet; how the injection ended is told later.
public enum PacketInjectionOutcome: ~Copyable, Sendable {
  /// It has begun, and its completion will come.
  case started
  /// It was refused: no completion comes, and the packet is the caller's again.
  case refused(InjectionError, InjectablePacket)
}
