// SPDX-License-Identifier: Apache-2.0

public import PacketViews

/// What one direction of a connection looks like on the wire.
///
/// `struct nf_conntrack_tuple`; ports in host order.
public struct ConntrackTuple: Sendable, Hashable, BitwiseCopyable {
  /// The sender.
  public var source: IPAddress
  /// The receiver.
  public var destination: IPAddress
  /// The transport protocol.
  public var transportProtocol: IPProtocol
  /// The sender's port; of ICMP echo messages the identifier, as `destinationPort`.
  ///
  /// 0 where the protocol has none.
  public var sourcePort: UInt16
  /// The receiver's port.
  public var destinationPort: UInt16
  /// ICMP's type; 0 for other protocols.
  public var icmpType: UInt8
  /// ICMP's code; 0 for other protocols.
  public var icmpCode: UInt8

  /// A direction of a connection.
  public init(
    source: IPAddress, destination: IPAddress, transportProtocol: IPProtocol,
    sourcePort: UInt16 = 0, destinationPort: UInt16 = 0, icmpType: UInt8 = 0, icmpCode: UInt8 = 0
  ) {
    self.source = source
    self.destination = destination
    self.transportProtocol = transportProtocol
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.icmpType = icmpType
    self.icmpCode = icmpCode
  }
}

extension ConntrackTuple {
  /// The other way round; of protocols without types alone.
  public var reversed: ConntrackTuple {
    ConntrackTuple(
      source: destination, destination: source, transportProtocol: transportProtocol,
      sourcePort: destinationPort, destinationPort: sourcePort, icmpType: icmpType,
      icmpCode: icmpCode)
  }
}

/// One connection that the kernel tracks.
///
/// `struct nf_conn`.
public struct Connection: Sendable, Hashable, BitwiseCopyable {
  /// The kernel's number for it; not 0.
  ///
  /// `CTA_ID`.
  public var id: UInt32
  /// The direction of its first packet, before any address translation.
  public var original: ConntrackTuple
  /// The direction of the answers, as they arrive: the other way round, but for translation.
  public var reply: ConntrackTuple
  /// How far it has come.
  ///
  /// `CTA_STATUS`.
  public var status: ConntrackStatus
  /// The connection's mark.
  ///
  /// `CTA_MARK`.
  public var mark: UInt32
  /// Where TCP's exchange stands, nil for other protocols and where it is not told.
  public var tcpState: TCPConnectionState?
  /// The zone in which it is tracked.
  ///
  /// `CTA_ZONE`.
  public var zone: UInt16

  /// A connection.
  public init(
    id: UInt32, original: ConntrackTuple, reply: ConntrackTuple, status: ConntrackStatus = [],
    mark: UInt32 = 0, tcpState: TCPConnectionState? = nil, zone: UInt16 = 0
  ) {
    self.id = id
    self.original = original
    self.reply = reply
    self.status = status
    self.mark = mark
    self.tcpState = tcpState
    self.zone = zone
  }

  /// Whether an address or port of it is translated.
  public var isTranslated: Bool {
    original.source != reply.destination || original.destination != reply.source
      || original.sourcePort != reply.destinationPort
      || original.destinationPort != reply.sourcePort
  }
}

/// How far a connection has come.
///
/// `IPS_*`.
public struct ConntrackStatus: OptionSet, Sendable, Hashable, BitwiseCopyable {
  /// The kernel's bits.
  public let rawValue: UInt32
  /// From the kernel's bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// It was expected by another connection.
  public static var expected: ConntrackStatus { ConntrackStatus(rawValue: 1 << 0) }
  /// An answer was seen.
  public static var seenReply: ConntrackStatus { ConntrackStatus(rawValue: 1 << 1) }
  /// It is not ended early to make room.
  public static var assured: ConntrackStatus { ConntrackStatus(rawValue: 1 << 2) }
  /// Its first packet has left this host or reached it.
  public static var confirmed: ConntrackStatus { ConntrackStatus(rawValue: 1 << 3) }
  /// Its source is translated.
  public static var sourceTranslated: ConntrackStatus { ConntrackStatus(rawValue: 1 << 4) }
  /// Its destination is translated.
  public static var destinationTranslated: ConntrackStatus { ConntrackStatus(rawValue: 1 << 5) }
  /// It is about to end.
  public static var dying: ConntrackStatus { ConntrackStatus(rawValue: 1 << 9) }
}

/// Where TCP's exchange stands as the kernel follows it.
///
/// `enum tcp_conntrack`.
public enum TCPConnectionState: UInt8, Sendable, Hashable, BitwiseCopyable {
  /// Nothing was seen.
  case none = 0
  /// The first segment was seen.
  case synSent = 1
  /// Its answer was seen.
  case synReceived = 2
  /// Both sides have agreed.
  case established = 3
  /// One side has said its last.
  case finWait = 4
  /// That was acknowledged.
  case closeWait = 5
  /// The other side has said its last too.
  case lastAcknowledgement = 6
  /// Both sides have said their last.
  case timeWait = 7
  /// It was reset.
  case closed = 8
  /// Both sides began at once.
  case synSentTwice = 9
}
