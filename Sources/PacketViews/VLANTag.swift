// SPDX-License-Identifier: Apache-2.0

/// The four bytes of a VLAN tag in an Ethernet frame.
public struct VLANTag: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
  /// Protocol identifier and control information in host order, as they follow on the wire.
  public let rawValue: UInt32

  /// Creates a tag from its four bytes in host order; every value is valid.
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Creates a tag of that protocol with its whole control information.
  @inlinable
  public init(_ tagProtocol: EtherType, control: UInt16) {
    rawValue = UInt32(tagProtocol.rawValue) << 16 | UInt32(control)
  }

  /// The whole tag control information: priority, drop eligibility and identifier.
  @inlinable public var control: UInt16 { UInt16(truncatingIfNeeded: rawValue) }

  /// What kind of tag this is: `.vlan` or `.serviceVLAN`.
  @inlinable
  public var tagProtocol: EtherType { EtherType(rawValue: UInt16(rawValue >> 16)) }

  /// The priority code point, 0 to 7.
  @inlinable public var priority: UInt8 { UInt8(rawValue >> 13 & 7) }

  /// Whether the frame may be dropped first.
  @inlinable public var isDropEligible: Bool { rawValue & 0x1000 != 0 }

  /// The VLAN, 1 to 4094; 0 means that the tag only carries a priority.
  @inlinable public var identifier: UInt16 { UInt16(rawValue & 0xfff) }
}
