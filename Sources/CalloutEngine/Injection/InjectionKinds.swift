// SPDX-License-Identifier: Apache-2.0

/// What an injection handle may inject, under WFP's values.
///
/// Mirrors `FWPS_INJECTION_TYPE_*`.
public struct InjectionKinds: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The bits.
  public let rawValue: UInt32
  /// From bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// Stream data; nothing here injects it.
  public static let stream = InjectionKinds(rawValue: 0x01)
  /// Transport messages.
  public static let transport = InjectionKinds(rawValue: 0x02)
  /// IP packets.
  public static let network = InjectionKinds(rawValue: 0x04)
  /// Forwarded IP packets.
  public static let forward = InjectionKinds(rawValue: 0x08)
  /// Frames of interfaces and bridges.
  public static let l2 = InjectionKinds(rawValue: 0x10)
  /// Transport messages of bridges.
  public static let vSwitchTransport = InjectionKinds(rawValue: 0x20)

  /// All bits that mean something.
  public static let known = InjectionKinds(rawValue: 0x3f)

  /// What the bits stand for: none of them is transport, stream and forward.
  public var resolved: InjectionKinds {
    isEmpty ? [.transport, .stream, .forward] : self
  }
}

/// Of which family the packets of an injection handle are.
public enum InjectionFamily: Sendable, Hashable, BitwiseCopyable {
  /// Of any; what frames take. `AF_UNSPEC`.
  case unspecified
  /// IPv4. `AF_INET`.
  case ipv4
  /// IPv6. `AF_INET6`.
  case ipv6
}
