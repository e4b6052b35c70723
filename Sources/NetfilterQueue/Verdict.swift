// SPDX-License-Identifier: Apache-2.0

/// What the kernel is told to do with one waiting packet.
public enum Verdict: Sendable, Hashable {
  /// Let it go on to the next hook. `NF_ACCEPT`.
  case accept
  /// Free it. `NF_DROP`.
  case drop
  /// Run this hook once more. `NF_REPEAT`; the kernel sets no limit, the caller must.
  case `repeat`
  /// Let it go on and skip the later rules of this hook. `NF_STOP`.
  case stop
  /// Hand it to another queue at this hook. `NF_QUEUE`; `bypass`: accept it if nobody is bound.
  case requeue(UInt16, bypass: Bool)

  /// The kernel's number, queue and flags included.
  @inlinable
  public var rawValue: UInt32 {
    switch self {
    case .drop: 0
    case .accept: 1
    case .requeue(let queue, let bypass): UInt32(queue) << 16 | (bypass ? 0x8000 : 0) | 3
    case .repeat: 4
    case .stop: 5
    }
  }
}
