// SPDX-License-Identifier: Apache-2.0

/// Whether a packet was injected, and by whom.
///
/// Mirrors `FWPS_PACKET_INJECTION_STATE`.
public enum InjectionState: UInt32, Sendable, BitwiseCopyable {
  /// By nobody: it comes from the stack or the wire. `FWPS_PACKET_NOT_INJECTED`.
  case notInjected = 0
  /// With the handle that asks; permit it. `FWPS_PACKET_INJECTED_BY_SELF`.
  case injectedBySelf = 1
  /// With another handle. `FWPS_PACKET_INJECTED_BY_OTHER`.
  case injectedByOther = 2
  /// With the handle that asks, and later with another; permit it.
  /// `FWPS_PACKET_PREVIOUSLY_INJECTED_BY_SELF`.
  case previouslyInjectedBySelf = 3

  /// Whether the handle that asks has injected it, so that doing it again could go on for ever.
  public var isOwn: Bool { self == .injectedBySelf || self == .previouslyInjectedBySelf }
}

/// Which injection handle it is.
public struct InjectionHandleID: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
  /// The number; 0 is none.
  public let rawValue: UInt32
  /// From a number.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// With which handles a packet was injected on its way, the latest last.
///
/// Of more than `limit` handles the oldest are forgotten; hops are counted all the same.
public struct InjectionTrace: BitwiseCopyable, Sendable {
  /// One injection.
  public struct Hop: BitwiseCopyable, Sendable {
    /// With which handle.
    public var handle = InjectionHandleID(rawValue: 0)
    /// What the caller gave with it.
    public var context: UInt64 = 0
  }

  /// The most handles that are remembered.
  public static let limit = 4
  /// How often a packet may be injected.
  public static let maximumHops: UInt8 = 8

  private var remembered: [4 of Hop] = .init(repeating: Hop())
  private var filled = 0
  /// How often the packet was injected.
  public private(set) var hops: UInt8 = 0

  /// The trace of a packet that was not injected.
  public init() {}

  /// Notes an injection.
  ///
  /// A handle's second one takes the place of its first.
  /// - Throws: `tooManyHops` from `maximumHops` on, with nothing changed.
  public mutating func note(
    _ handle: InjectionHandleID, context: UInt64
  ) throws(InjectionError) {
    guard hops < Self.maximumHops else { throw .tooManyHops }
    hops &+= 1
    var kept: [4 of Hop] = .init(repeating: Hop())
    var count = 0
    for index in 0..<filled where remembered[index].handle != handle {
      kept[count] = remembered[index]
      count += 1
    }
    if count == Self.limit {
      for index in 1..<count { kept[index - 1] = kept[index] }
      count -= 1
    }
    kept[count] = Hop(handle: handle, context: context)
    remembered = kept
    filled = count + 1
  }

  /// What the packet is to `handle`, and the context that it was injected with where it is its own.
  ///
  /// `isForeign` says that the packet bears the mark of another engine's injection. Mirrors
  /// `FwpsQueryPacketInjectionState0`.
  public func state(
    for handle: InjectionHandleID, isForeign: Bool = false
  ) -> (state: InjectionState, context: UInt64?) {
    var own: UInt64?
    for index in 0..<filled where remembered[index].handle == handle {
      own = remembered[index].context
    }
    guard let own else {
      return (filled == 0 && !isForeign ? .notInjected : .injectedByOther, nil)
    }
    let isLast = remembered[filled - 1].handle == handle && !isForeign
    return (isLast ? .injectedBySelf : .previouslyInjectedBySelf, own)
  }
}
