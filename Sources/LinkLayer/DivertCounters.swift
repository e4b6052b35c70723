// SPDX-License-Identifier: Apache-2.0

/// What became of the frames that a divert read.
public struct DivertTally: Sendable, Hashable {
  /// Frames read.
  public var received: UInt64 = 0
  /// Frames put back.
  public var permitted: UInt64 = 0
  /// Frames that were decided to vanish.
  public var dropped: UInt64 = 0
  /// Frames that nobody decided: they got the failure policy.
  public var undecided: UInt64 = 0
  /// Frames that went on with other bytes.
  public var replaced: UInt64 = 0
  /// Frames put back through the helper, mostly since the device's own MTU is smaller.
  public var detoured: UInt64 = 0
  /// Permitted frames that found the device down (`ENETDOWN`).
  public var deviceDown: UInt64 = 0
  /// Permitted frames that found the device gone (`ENXIO`, `ENODEV`).
  public var deviceGone: UInt64 = 0
  /// Permitted frames that were too long even for the helper (`EMSGSIZE`).
  public var tooLong: UInt64 = 0
  /// Permitted frames that found memory or the device's queue full (`ENOBUFS`, `EAGAIN`).
  public var noRoom: UInt64 = 0
  /// Permitted frames that the kernel refused otherwise.
  public var refused: UInt64 = 0
  /// The `errno` value of the last of these.
  public var lastRefusal: Int32 = 0
  /// Frames put back that never came to the device, because it was down.
  public var strayed: UInt64 = 0
  /// Times that the divert was taken down although frames were under way.
  public var forcedRemovals: UInt64 = 0
  /// Frames put back after such a removal, which later ones may have overtaken.
  public var overtaken: UInt64 = 0
  /// Frames that the helper saw and the packet socket did not; 0, unless the helper was tampered with.
  public var unaccounted: UInt64 = 0

  mutating func note(_ failure: FrameSendResult) {
    switch failure {
    case .sent: break
    case .deviceDown: deviceDown &+= 1
    case .deviceGone: deviceGone &+= 1
    case .tooLong: tooLong &+= 1
    case .noRoom: noRoom &+= 1
    case .malformed: refused &+= 1
    case .refused(let errno):
      refused &+= 1
      lastRefusal = errno
    }
  }
}

/// All that a divert counts.
///
/// What landed = received + `ringLosses` + `truncated` + `malformed` + what waits; received = permitted
/// + dropped + undecided under `block` + what could not be put back.
public struct DivertCounters: Sendable, Hashable {
  /// What became of the frames that were read.
  public var tally: DivertTally
  /// Frames that found the ring full (`tp_drops`).
  public var ringLosses: UInt64
  /// Frames that did not come whole: longer than 68 KiB, or no memory for them.
  public var truncated: UInt64
  /// What came to the helper and was no frame of ours.
  public var malformed: UInt64
  /// Frames taken from the device, before segmentation.
  public var diverted: UInt64
  /// Frames that came to the helper, after segmentation.
  public var landed: UInt64
  /// Frames put back or injected that the device let through.
  public var returned: UInt64
  /// Frames that went their way while the divert was taken down.
  public var passed: UInt64
  /// Frames that were beyond the limit: they got the failure policy.
  public var overloaded: UInt64
  /// Frames that there was no memory to divert: they got the failure policy.
  public var unwrapped: UInt64

  init(
    tally: DivertTally, ringLosses: UInt64, truncated: UInt64, malformed: UInt64,
    state: DivertState
  ) {
    self.tally = tally
    self.ringLosses = ringLosses
    self.truncated = truncated
    self.malformed = malformed
    diverted = state[.diverted]
    landed = state[.landed]
    returned = state[.returned]
    passed = state[.passed]
    overloaded = state[.overloaded]
    unwrapped = state[.unwrapped]
  }
}
