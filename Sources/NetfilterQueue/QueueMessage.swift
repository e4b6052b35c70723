// SPDX-License-Identifier: Apache-2.0

internal import CNetfilter
internal import PacketViews

/// One netlink message of a queue's socket, its packet's indication apart.
public enum QueueMessageKind: BitwiseCopyable, Sendable {
  /// A packet that waits for its verdict.
  case packet
  /// The kernel refused an earlier request; `packetID` is set if that was a verdict.
  case refused(errno: CInt, packetID: UInt32?)
  /// A message that is none of the above.
  case other(type: UInt16)
  /// Bytes that are not a netlink message of this protocol; `packetID` is set as far as it is known.
  case malformed(packetID: UInt32?)
}

/// One netlink message of a queue's socket.
public enum QueueMessage: BitwiseCopyable, Sendable {
  /// A packet that waits for its verdict.
  case packet(Indication)
  /// The kernel refused an earlier request; `packetID` is set if that was a verdict.
  case refused(errno: CInt, packetID: UInt32?)
  /// A message that is none of the above.
  case other(type: UInt16)
  /// Bytes that are not a netlink message of this protocol; `packetID` is set as far as it is known.
  case malformed(packetID: UInt32?)

  /// Reads the message at `offset` of a datagram and moves `offset` behind it; nil at the end.
  public static func next(in datagram: RawSpan, at offset: inout Int) -> QueueMessage? {
    var indication = Indication()
    return switch next(in: datagram, at: &offset, into: &indication) {
    case .packet: .packet(indication)
    case .refused(let errno, let packetID): .refused(errno: errno, packetID: packetID)
    case .other(let type): .other(type: type)
    case .malformed(let packetID): .malformed(packetID: packetID)
    case nil: nil
    }
  }

  /// As `next(in:at:)`, with a packet's indication written in place: no copy on the packet path.
  public static func next(
    in datagram: RawSpan, at offset: inout Int, into indication: inout Indication
  ) -> QueueMessageKind? {
    let room = datagram.byteCount &- offset
    guard room >= 16 else {
      defer { offset = datagram.byteCount }
      return room > 0 ? .malformed(packetID: nil) : nil
    }
    let length = Int(datagram.hostUInt32(offset))
    let start = offset
    guard length >= 16, length <= room else {
      offset = datagram.byteCount
      let isCutPacket = length > room && datagram.hostUInt16(start &+ 4) == CNF_MESSAGE_PACKET
      return .malformed(packetID: isCutPacket ? packetID(datagram, start) : nil)
    }
    offset = min(datagram.byteCount, start &+ ((length &+ 3) & ~3))
    let type = datagram.hostUInt16(start &+ 4)
    if type == CNF_MESSAGE_PACKET {
      return indication.read(datagram, from: start, to: start &+ length)
    }
    if type == UInt16(NLMSG_ERROR) { return refusal(datagram, start &+ 16, start &+ length) }
    return .other(type: type)
  }

  /// The id in a packet message that was cut: the packet still waits for its verdict.
  private static func packetID(_ bytes: RawSpan, _ start: Int) -> UInt32? {
    var cut = Indication()
    return switch cut.read(bytes, from: start, to: bytes.byteCount) {
    case .packet: cut.id
    case .malformed(let packetID): packetID
    case .refused, .other: nil
    }
  }

  private static func refusal(_ bytes: RawSpan, _ start: Int, _ end: Int) -> QueueMessageKind {
    guard end &- start >= 4 else { return .malformed(packetID: nil) }
    let code = CInt(bitPattern: bytes.hostUInt32(start))
    guard code != 0 else { return .other(type: UInt16(NLMSG_ERROR)) }
    // The kernel quotes the request: its header, then nfgenmsg, then the verdict header.
    let verdict = start &+ 4 &+ 16 &+ 4
    let isVerdict =
      end &- verdict >= 12
      && (bytes.hostUInt16(start &+ 8) == CNF_MESSAGE_VERDICT
        || bytes.hostUInt16(start &+ 8) == CNF_MESSAGE_VERDICT_BATCH)
      && bytes.hostUInt16(verdict &+ 2) == UInt16(NFQA_VERDICT_HDR.rawValue)
    return .refused(
      errno: 0 &- code, packetID: isVerdict ? bytes.bigUInt32(verdict &+ 8) : nil)
  }
}

extension QueueMessage {
  /// How many packets the refused verdict was for; `start` is where its `.refused` message begins.
  public static func packetCount(ofRefusalAt start: Int, in datagram: RawSpan) -> UInt64 {
    // The error's header and code, then the request's header, with its sequence number at 8.
    guard datagram.byteCount &- start >= 36 else { return 1 }
    return UInt64(max(1, datagram.hostUInt32(start &+ 28)))
  }
}

extension Indication {
  /// Takes in a whole packet message, `start` to `end` of a datagram.
  fileprivate mutating func read(_ bytes: RawSpan, from start: Int, to end: Int) -> QueueMessageKind
  {
    self = Indication()
    guard end &- start >= 20 else { return .malformed(packetID: nil) }
    // struct nfgenmsg: family, version, queue.
    let head = bytes.bigUInt32(start &+ 16)
    family = UInt8(truncatingIfNeeded: head >> 24)
    metadata.queue = UInt16(truncatingIfNeeded: head)
    var cursor = start &+ 20
    var hasHeader = false
    while end &- cursor >= 4 {
      guard let attribute = bytes.attribute(at: cursor, before: end) else {
        return .malformed(packetID: hasHeader ? id : nil)
      }
      let value = attribute.value
      if attribute.type == NFQA_PACKET_HDR.rawValue, value.byteCount >= 7 {
        hasHeader = true
        metadata.packetID = value.bigUInt32(0)
        etherType = value.bigUInt16(4)
        hook = value.byte(6)
      } else {
        read(attribute.type, value, at: cursor &+ 4)
      }
      cursor = cursor &+ attribute.paddedLength
    }
    guard hasHeader else { return .malformed(packetID: nil) }
    if !isTruncated { metadata.originalLength = UInt32(truncatingIfNeeded: payloadLength) }
    return .packet
  }
}
