// SPDX-License-Identifier: Apache-2.0

/// A netfilter hook of the IP families, under the kernel's number.
///
/// `NF_INET_*`.
public enum Hook: UInt8, CaseIterable, Sendable, BitwiseCopyable {
  /// Everything that arrives.
  case prerouting = 0
  /// What is for this host.
  case input = 1
  /// What is routed through.
  case forward = 2
  /// What this host sends.
  case output = 3
  /// Everything that leaves.
  case postrouting = 4
}

/// A set of hooks, and of the places before the first and behind the last where frames are met.
public struct HookSet: OptionSet, Sendable, BitwiseCopyable {
  /// One bit a hook, by its number, and three more.
  public let rawValue: UInt8
  /// From bits.
  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  /// The set of one hook.
  @inlinable
  public init(_ hook: Hook) { rawValue = 1 << hook.rawValue }
  /// Where frames are met that a device has received.
  @inlinable public static var receivedFrames: HookSet { HookSet(rawValue: 1 << 5) }
  /// Where frames are met that a device is about to send.
  @inlinable public static var sentFrames: HookSet { HookSet(rawValue: 1 << 6) }
  /// Where frames are met that are about to leave a bridge by one of its ports.
  @inlinable public static var bridgedFrames: HookSet { HookSet(rawValue: 1 << 7) }
}

/// Where a packet was let go, which tells the hooks it can come to next.
@usableFromInline
package enum Departure: Int, BitwiseCopyable, Sendable {
  case prerouting = 0
  /// From OUTPUT towards the loopback device: it leaves, and arrives on this host again.
  case loopbackOutput = 1
  /// From FORWARD or OUTPUT, towards POSTROUTING; or as a frame that leaves a bridge.
  case output = 2
  case postrouting = 3
  /// Where nothing is met any more: from INPUT, or as a frame that is sent.
  case end = 4
  /// By repeat, requeue or injection: any hook may be next.
  case anywhere = 5
  /// From POSTROUTING towards the loopback device: it arrives on this host again.
  case loopback = 6
  /// Not a packet of its own: another handle that shares this one's associations.
  case sharer = 7

  /// The departure by an accept at `hook`.
  @inlinable
  package init(from hook: Hook, towardsLoopback: Bool) {
    switch hook {
    case .output: self = towardsLoopback ? .loopbackOutput : .output
    case .postrouting: self = towardsLoopback ? .loopback : .postrouting
    case .prerouting: self = .prerouting
    case .forward: self = .output
    case .input: self = .end
    }
  }

  /// The hooks that a packet which left here can meet.
  @inlinable
  package var followers: HookSet {
    switch self {
    case .prerouting: [HookSet(.input), HookSet(.forward), HookSet(.postrouting), .sentFrames]
    case .output: [HookSet(.postrouting), .sentFrames]
    case .loopbackOutput: [HookSet(.postrouting), HookSet(.prerouting), HookSet(.input)]
    case .loopback: [HookSet(.prerouting), HookSet(.input)]
    case .postrouting: [.sentFrames, .bridgedFrames]
    case .anywhere: HookSet(rawValue: 0xff)
    case .end, .sharer: []
    }
  }
}
