// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// Who fills in what the kernel was seen to do, handle by handle.
public protocol SightingSource: AnyObject, Sendable {
  /// What was seen, by handle; valid as long as the source.
  var sightings: SharedView<Sighting> { get }
  /// Which buffers bear each handle; nil if the kernel does not let them be counted.
  var bearers: SharedView<BearerCount>? { get }
  /// Whether it is told that packets reached sockets.
  var tellsDelivery: Bool { get }
  /// Packets under handles are about to be let go.
  func watch()
  /// There are none under way any more; each call follows one of `watch`.
  func rest()
}

/// What the kernel was seen to do with the packets that bear one handle.
///
/// Written by programs inside the kernel, so its layout is that of `struct sighting` in
/// `lifecycle.h`. Times are CLOCK_MONOTONIC in units of 1,024 ns, cut to 32 bits; 0 is none.
public struct Sighting: BitwiseCopyable, Sendable, Equatable {
  /// What was seen.
  public struct Seen: OptionSet, BitwiseCopyable, Sendable {
    /// The bits.
    public let rawValue: UInt32
    /// From bits.
    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// A device other than loopback took it.
    @inlinable public static var sent: Seen { Seen(rawValue: 1) }
    /// It reached a socket.
    @inlinable public static var reached: Seen { Seen(rawValue: 2) }
    /// It was freed after use.
    @inlinable public static var freed: Seen { Seen(rawValue: 4) }
    /// It was dropped.
    @inlinable public static var dropped: Seen { Seen(rawValue: 8) }
    /// A program read it from its socket.
    @inlinable public static var read: Seen { Seen(rawValue: 16) }
    /// More than one buffer bore the handle: clones, copies, fragments or segments.
    @inlinable public static var several: Seen { Seen(rawValue: 32) }
    /// It was given to the loopback device.
    @inlinable public static var looped: Seen { Seen(rawValue: 64) }
    /// It was dropped after it had reached a socket, though not for the end of the socket.
    @inlinable public static var refused: Seen { Seen(rawValue: 128) }
    /// More than one device took it.
    @inlinable public static var devices: Seen { Seen(rawValue: 256) }
    /// It was met in another network namespace.
    @inlinable public static var left: Seen { Seen(rawValue: 512) }
  }

  /// The address of the first buffer that was seen.
  public var buffer: UInt64 = 0
  /// The low half of the address of the code that dropped it.
  public var place: UInt32 = 0
  /// When a device took it.
  public var sent: UInt32 = 0
  /// When it reached a socket.
  public var reached: UInt32 = 0
  /// When it was freed or dropped, the last time; not told of what was sent.
  public var ended: UInt32 = 0
  /// The device that took it.
  public var device: UInt32 = 0
  /// What was seen; the upper half is the reason of a drop.
  public var seen: Seen = []

  /// The kernel's number for the reason of the drop: `enum skb_drop_reason`.
  public var dropReason: UInt32 {
    let short = seen.rawValue >> 16
    return (short >> 12) << 16 | short & 0xfff
  }

  /// Nothing seen.
  @inlinable
  public init() {}

  /// Nanoseconds of CLOCK_MONOTONIC; right if `time` is less than 36 minutes before `now`.
  static func nanoseconds(_ time: UInt32, before now: UInt64) -> UInt64 {
    let units = now >> 10
    let age = UInt64(UInt32(truncatingIfNeeded: units) &- time)
    return age < 1 << 31 ? (units &- age) << 10 : now
  }
}
