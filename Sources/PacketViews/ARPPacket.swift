// SPDX-License-Identifier: Apache-2.0

/// A borrowed ARP packet for IPv4 over Ethernet.
public struct ARPPacket: ~Escapable {
  /// The packet and any padding behind it.
  public let bytes: RawSpan

  /// A view of the 28-byte ARP packet at the start of `bytes`.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) throws(MalformedPacket) {
    guard bytes.byteCount >= 28 else { throw .truncated(needed: 28) }
    // Hardware type 1, protocol type IPv4, address lengths 6 and 4.
    guard bytes.bigEndian32(at: 0) == 0x0001_0800, bytes.bigEndian16(at: 4) == 0x0604 else {
      throw .unsupportedARP
    }
    self.bytes = bytes
  }

  /// What the packet does: 1 asks, 2 answers.
  @inlinable public var operation: UInt16 { bytes.bigEndian16(at: 6) }
  /// Whether the packet asks who has `targetAddress`.
  @inlinable public var isRequest: Bool { operation == 1 }
  /// Whether the packet answers a request.
  @inlinable public var isReply: Bool { operation == 2 }
  /// The sender's Ethernet address.
  @inlinable public var senderHardwareAddress: MACAddress { MACAddress(bytes, at: 8) }
  /// The sender's IPv4 address.
  @inlinable public var senderAddress: IPAddress { IPAddress(v4: bytes.bigEndian32(at: 14)) }
  /// The target's Ethernet address; of no meaning in a request.
  @inlinable public var targetHardwareAddress: MACAddress { MACAddress(bytes, at: 18) }
  /// The target's IPv4 address.
  @inlinable public var targetAddress: IPAddress { IPAddress(v4: bytes.bigEndian32(at: 24)) }
}
