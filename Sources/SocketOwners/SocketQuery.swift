// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// The packet whose socket on this host is looked for.
public struct SocketQuery: Sendable, Hashable {
  /// TCP or UDP; the kernel tells of no others.
  public var transportProtocol: IPProtocol
  /// This host's end; ports are in host order.
  public var localAddress: IPAddress
  /// This host's port.
  public var localPort: UInt16
  /// The peer's end.
  public var remoteAddress: IPAddress
  /// The peer's port.
  public var remotePort: UInt16
  /// The device by which the packet came or leaves, for sockets that are bound to one; 0 for none.
  public var device: UInt32

  /// The socket that has sent the packet, or that is to receive it; nil where none can be told: neither
  /// TCP nor UDP, or a fragment.
  public init?(_ layout: PacketLayout, isInbound: Bool, device: UInt32) {
    guard layout.transportProtocol == .tcp || layout.transportProtocol == .udp,
      !layout.isFragment, layout.hasPorts
    else { return nil }
    transportProtocol = layout.transportProtocol
    (localAddress, remoteAddress) = (layout.sourceAddress, layout.destinationAddress)
    (localPort, remotePort) = (layout.sourcePort, layout.destinationPort)
    if isInbound {
      swap(&localAddress, &remoteAddress)
      swap(&localPort, &remotePort)
    }
    self.device = device
  }

  /// The socket between two ends.
  public init(
    _ transportProtocol: IPProtocol, local: IPAddress, _ localPort: UInt16, remote: IPAddress,
    _ remotePort: UInt16, device: UInt32 = 0
  ) {
    self.transportProtocol = transportProtocol
    localAddress = local
    self.localPort = localPort
    remoteAddress = remote
    self.remotePort = remotePort
    self.device = device
  }
}
