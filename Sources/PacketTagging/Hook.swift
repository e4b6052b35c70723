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

/// A set of hooks.
public struct HookSet: OptionSet, Sendable, BitwiseCopyable {
  /// One bit a hook, by its number.
  public let rawValue: UInt8
  /// From bits.
  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  /// The set of one hook.
  @inlinable
  public init(_ hook: Hook) { rawValue = 1 << hook.rawValue }
}

/// Where a packet was let go, which tells the hooks it can come to next.
@usableFromInline
package enum Departure: Int, BitwiseCopyable, Sendable {
  case prerouting = 0
  /// From OUTPUT towards the loopback device: it leaves, and arrives on this host again.
  /// (Nothing is met after INPUT, so that number is free.)
  case loopbackOutput = 1
  case forward = 2
  case output = 3
  case postrouting = 4
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
    case .forward: self = .forward
    // The end of the way, like POSTROUTING.
    case .input: self = .postrouting
    }
  }

  /// The hooks that a packet which left here can meet.
  @inlinable
  package var followers: HookSet {
    switch self {
    case .prerouting: [HookSet(.input), HookSet(.forward), HookSet(.postrouting)]
    case .forward, .output: HookSet(.postrouting)
    case .loopbackOutput: [HookSet(.postrouting), HookSet(.prerouting), HookSet(.input)]
    case .loopback: [HookSet(.prerouting), HookSet(.input)]
    case .anywhere: HookSet(rawValue: 0x1f)
    case .postrouting, .sharer: []
    }
  }
}
