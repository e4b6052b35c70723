// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// One message of ctnetlink, read with bounds.
enum ConntrackMessage: Equatable {
  /// A connection came, or changed, or is the answer to a question: `IPCTNL_MSG_CT_NEW`.
  case connection(Connection, isNew: Bool)
  /// A connection has ended: `IPCTNL_MSG_CT_DELETE`.
  case ended(Connection)
  /// `NLMSG_ERROR`; 0 is an acknowledgement.
  case refused(errno: Int32)
  /// The end of an answer of many messages: `NLMSG_DONE`.
  case done
  /// A message of another kind, or one without what every connection has.
  case other

  /// Reads the message at `cursor` and moves behind it; nil at the end and where a length is wrong.
  static func next(in bytes: RawSpan, at cursor: inout Int) -> ConntrackMessage? {
    let start = cursor
    guard bytes.byteCount &- start >= 16 else { return nil }
    let length = Int(bytes.native32(at: start))
    guard length >= 16, length <= bytes.byteCount &- start else { return nil }
    cursor = min(bytes.byteCount, start &+ ((length &+ 3) & ~3))
    let (type, flags) = (bytes.native16(at: start &+ 4), bytes.native16(at: start &+ 6))
    let body = bytes.slice(from: start &+ 16, length: length &- 16)
    switch type {
    case 2:  // NLMSG_ERROR
      guard body.byteCount >= 4 else { return .other }
      return .refused(errno: 0 &- Int32(bitPattern: body.native32(at: 0)))
    case 3: return .done  // NLMSG_DONE
    case Netfilter.conntrack << 8 | 0:  // IPCTNL_MSG_CT_NEW
      // NLM_F_CREATE | NLM_F_EXCL: a change carries neither.
      return Connection(body).map { .connection($0, isNew: flags & 0x600 != 0) } ?? .other
    case Netfilter.conntrack << 8 | 2:  // IPCTNL_MSG_CT_DELETE
      return Connection(body).map { .ended($0) } ?? .other
    default:
      return .other
    }
  }
}

extension Connection {
  /// Reads a message's body; nil without an id or one of the two directions.
  init?(_ body: RawSpan) {
    var (id, original, reply) = (UInt32(0), ConntrackTuple?.none, ConntrackTuple?.none)
    var (status, mark, zone) = (ConntrackStatus(), UInt32(0), UInt16(0))
    var state: TCPConnectionState?
    var cursor = 4  // struct nfgenmsg
    while let (type, value) = body.attribute(at: &cursor) {
      let field = body.slice(from: value.lowerBound, length: value.count)
      switch type {
      case 1: original = ConntrackTuple(field)  // CTA_TUPLE_ORIG
      case 2: reply = ConntrackTuple(field)  // CTA_TUPLE_REPLY
      case 3: status = ConntrackStatus(rawValue: field.bigEndian32(at: 0))  // CTA_STATUS
      case 4: state = Self.tcpState(field)  // CTA_PROTOINFO
      case 8: mark = field.bigEndian32(at: 0)  // CTA_MARK
      case 12: id = field.bigEndian32(at: 0)  // CTA_ID
      case 18: zone = field.bigEndian16(at: 0)  // CTA_ZONE
      default: break
      }
    }
    guard id != 0, let original, let reply else { return nil }
    self.init(
      id: id, original: original, reply: reply, status: status, mark: mark, tcpState: state,
      zone: zone)
  }

  private static func tcpState(_ protocolInfo: RawSpan) -> TCPConnectionState? {
    guard let tcp = protocolInfo.attribute(1), let state = tcp.attribute(1) else { return nil }
    return TCPConnectionState(rawValue: state.byte(at: 0))
  }
}

extension ConntrackTuple {
  /// Reads `CTA_TUPLE_*`; nil without two addresses of one family and a protocol.
  init?(_ tuple: RawSpan) {
    guard let addresses = tuple.attribute(1), let transport = tuple.attribute(2),
      let source = Self.address(addresses, v4: 1, v6: 3),
      let destination = Self.address(addresses, v4: 2, v6: 4),
      source.version == destination.version, let number = transport.attribute(1),
      number.byteCount >= 1
    else { return nil }
    self.init(
      source: source, destination: destination,
      transportProtocol: IPProtocol(rawValue: number.byte(at: 0)))
    var cursor = 0
    while let (type, value) = transport.attribute(at: &cursor) {
      let field = transport.slice(from: value.lowerBound, length: value.count)
      switch type {
      case 2: sourcePort = field.bigEndian16(at: 0)  // CTA_PROTO_SRC_PORT
      case 3: destinationPort = field.bigEndian16(at: 0)  // CTA_PROTO_DST_PORT
      case 4, 7:  // CTA_PROTO_ICMP_ID, CTA_PROTO_ICMPV6_ID
        sourcePort = field.bigEndian16(at: 0)
        destinationPort = sourcePort
      case 5, 8: icmpType = field.byte(at: 0)
      case 6, 9: icmpCode = field.byte(at: 0)
      default: break
      }
    }
  }

  private static func address(_ addresses: RawSpan, v4: UInt16, v6: UInt16) -> IPAddress? {
    if let field = addresses.attribute(v4), field.byteCount >= 4 {
      return IPAddress(v4: field.bigEndian32(at: 0))
    }
    if let field = addresses.attribute(v6), field.byteCount >= 16 {
      return IPAddress(high: field.bigEndian64(at: 0), low: field.bigEndian64(at: 8))
    }
    return nil
  }
}

extension RawSpan {
  /// 16 bits in the machine's order; 0 where they do not fit.
  func native16(at offset: Int) -> UInt16 { bigEndian16(at: offset).bigEndian }

  /// 32 bits in the machine's order; 0 where they do not fit.
  func native32(at offset: Int) -> UInt32 { bigEndian32(at: offset).bigEndian }

  /// The attribute at `cursor`, which moves behind it; nil at the end and where a length is wrong.
  func attribute(at cursor: inout Int) -> (type: UInt16, value: Range<Int>)? {
    let start = cursor
    guard start >= 0, byteCount &- start >= 4 else { return nil }
    let length = Int(native16(at: start))
    guard length >= 4, length <= byteCount &- start else { return nil }
    cursor = min(byteCount, start &+ ((length &+ 3) & ~3))
    return (native16(at: start &+ 2) & 0x3fff, (start &+ 4)..<(start &+ length))
  }

  /// The value of the first attribute of a type.
  @_lifetime(copy self)
  func attribute(_ type: UInt16) -> RawSpan? {
    var cursor = 0
    while let (found, value) = attribute(at: &cursor) {
      if found == type { return slice(from: value.lowerBound, length: value.count) }
    }
    return nil
  }
}
