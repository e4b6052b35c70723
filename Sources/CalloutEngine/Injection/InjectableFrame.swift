// SPDX-License-Identifier: Apache-2.0

package import PacketTagging
public import PacketViews

/// A frame that is to be injected, and whose it was.
///
/// Mirrors the `NET_BUFFER_LIST` that `FwpsInjectMacReceiveAsync0` and `FwpsInjectMacSendAsync0` take.
public enum InjectableFrame: ~Copyable, Sendable {
  /// An absorbed frame as it came.
  case original(ReferencedFrame)
  /// A clone, with its contexts.
  case clone(FrameClone)
  /// A frame that somebody made up, from its MAC header on.
  case invented([UInt8])

  /// The frame from its MAC header on, with its VLAN tags.
  public var bytes: [UInt8] {
    switch self {
    case .original(let frame): frame.bytes
    case .clone(let clone): clone.bytes
    case .invented(let bytes): bytes
    }
  }

  /// What the kernel has not finished in it.
  public var offload: FrameOffload {
    switch self {
    case .original(let frame): frame.metadata.offload
    case .clone(let clone): clone.offload
    case .invented: FrameOffload()
    }
  }

  /// Whether it may be injected only with a completion function; an unaltered original need not be.
  public var needsCompletion: Bool {
    switch self {
    case .original: false
    case .clone: true
    case .invented: true
    }
  }
}

extension InjectableFrame {
  /// With what it was injected before; of what somebody made up that is not known.
  package var trace: InjectionTrace {
    switch self {
    case .original(let frame): frame.trace
    case .clone(let clone): clone.trace
    case .invented: InjectionTrace()
    }
  }

  /// The original's mark, whose bits of others it keeps.
  package var mark: UInt32 {
    switch self {
    case .original(let frame): frame.metadata.mark
    case .clone(let clone): clone.mark
    case .invented: 0
    }
  }

  /// The original's priority.
  package var priority: UInt32 {
    switch self {
    case .original(let frame): frame.metadata.priority
    case .clone(let clone): clone.priority
    case .invented: 0
    }
  }

  /// The handle of a clone's contexts, 0 for none.
  package var handle: UInt32 {
    switch self {
    case .original: 0
    case .clone(let clone): clone.handle
    case .invented: 0
    }
  }

  /// Its bytes, and the packet that it is; a clone's contexts are the caller's business from now on.
  package consuming func take() -> (bytes: [UInt8], packet: TaggedPacket) {
    var packet = TaggedPacket()
    packet.isClone = true
    switch consume self {
    case .original(let frame): return (frame.bytes, packet)
    case .clone(let clone): return clone.take()
    case .invented(let bytes): return (bytes, packet)
    }
  }
}

/// What came of the call that injects one frame; how the injection ended is told later.
public enum InjectionOutcome: ~Copyable, Sendable {
  /// It has begun, and its completion will come.
  case started
  /// It was refused: no completion comes, and the frame is the caller's again.
  case refused(InjectionError, InjectableFrame)
}
