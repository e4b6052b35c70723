// SPDX-License-Identifier: Apache-2.0

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

/// What came of the call that injects one frame; how the injection ended is told later.
public enum InjectionOutcome: ~Copyable, Sendable {
  /// It has begun, and its completion will come.
  case started
  /// It was refused: no completion comes, and the frame is the caller's again.
  case refused(InjectionError, InjectableFrame)
}
