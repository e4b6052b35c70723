// SPDX-License-Identifier: Apache-2.0

/// One life event: a line of the answer to `events`.
///
/// Its names are WFP's, in lower case.
///
/// Tags and contexts are strings, because many readers of JSON round 64-bit numbers.
public struct EventLine: Codable, Sendable, Hashable {
  /// CLOCK_MONOTONIC in nanoseconds.
  public var time: UInt64
  /// What happened ("context_removed").
  public var event: String
  /// The tag's bits in hexadecimal.
  public var tag: String
  /// The tag's name, nil if it is not known.
  public var tagName: String?
  /// The context in hexadecimal.
  public var context: String
  /// The handle that bears it.
  public var handle: UInt32
  /// The copy's or clone's handle, nil if there is none.
  public var otherHandle: UInt32?
  /// The packet's id in its queue, 0 where there is none.
  public var packetID: UInt32
  /// The copy's id, nil if there is none.
  public var otherPacketID: UInt32?
  /// The queue at which it happened.
  public var queue: UInt16
  /// The layer at which it happened.
  public var layer: String
  /// Why the association ended; only for `context_removed`.
  public var reason: String?
  /// How it is known: exact, observed or inferred.
  public var certainty: String
  /// The layer at which the context was put on.
  public var associatedAt: String?
  /// The device that took the packet.
  public var device: String?
  /// The kernel's reason for a drop, for example "NETFILTER_DROP".
  public var dropReason: String?
  /// The function of the kernel that dropped it, and the offset in it.
  public var place: String?
  /// For `delivered`: whether a program was seen to read the packet.
  public var isRead: Bool?

  /// An event.
  public init(
    time: UInt64, event: String, tag: String, tagName: String?, context: String, handle: UInt32,
    otherHandle: UInt32? = nil, packetID: UInt32, otherPacketID: UInt32? = nil, queue: UInt16,
    layer: String, reason: String?, certainty: String
  ) {
    self.time = time
    self.event = event
    self.tag = tag
    self.tagName = tagName
    self.context = context
    self.handle = handle
    self.otherHandle = otherHandle
    self.packetID = packetID
    self.otherPacketID = otherPacketID
    self.queue = queue
    self.layer = layer
    self.reason = reason
    self.certainty = certainty
  }

  enum CodingKeys: String, CodingKey {
    case time, event, tag
    case tagName = "tag-name"
    case context, handle
    case otherHandle = "other-handle"
    case packetID = "packet-id"
    case otherPacketID = "other-packet-id"
    case queue, layer, reason, certainty
    case associatedAt = "associated-at"
    case device
    case dropReason = "drop-reason"
    case place
    case isRead = "read"
  }
}

extension EventLine {
  /// Appends the event as JSON and a newline; what a coder would write, without its cost.
  public func appendJSON(to line: inout [UInt8]) {
    line.append(contentsOf: "{\"time\":\(time),\"event\":\"\(event)\",\"tag\":\"\(tag)\"".utf8)
    if let tagName {
      line.append(contentsOf: ",\"tag-name\":".utf8)
      Self.append(quoted: tagName, to: &line)
    }
    line.append(contentsOf: ",\"context\":\"\(context)\",\"handle\":\(handle)".utf8)
    if let otherHandle { line.append(contentsOf: ",\"other-handle\":\(otherHandle)".utf8) }
    line.append(contentsOf: ",\"packet-id\":\(packetID)".utf8)
    if let otherPacketID { line.append(contentsOf: ",\"other-packet-id\":\(otherPacketID)".utf8) }
    line.append(contentsOf: ",\"queue\":\(queue),\"layer\":\"\(layer)\"".utf8)
    if let reason { line.append(contentsOf: ",\"reason\":\"\(reason)\"".utf8) }
    line.append(contentsOf: ",\"certainty\":\"\(certainty)\"".utf8)
    if let associatedAt {
      line.append(contentsOf: ",\"associated-at\":\"\(associatedAt)\"".utf8)
    }
    if let device {
      line.append(contentsOf: ",\"device\":".utf8)
      Self.append(quoted: device, to: &line)
    }
    if let dropReason { line.append(contentsOf: ",\"drop-reason\":\"\(dropReason)\"".utf8) }
    if let place { line.append(contentsOf: ",\"place\":\"\(place)\"".utf8) }
    if let isRead { line.append(contentsOf: ",\"read\":\(isRead)".utf8) }
    line.append(contentsOf: "}\n".utf8)
  }

  /// Names come from the policy file, so they may hold anything.
  private static func append(quoted text: String, to line: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    line.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        line.append(UInt8(ascii: "\\"))
        line.append(byte)
      case 0..<0x20:
        line.append(contentsOf: "\\u00".utf8)
        line.append(digits[Int(byte >> 4)])
        line.append(digits[Int(byte & 15)])
      default: line.append(byte)
      }
    }
    line.append(UInt8(ascii: "\""))
  }
}

/// A number in hexadecimal with its prefix, as JSON of this project shows 64-bit values.
public func hexadecimal(_ value: some BinaryInteger) -> String {
  "0x" + String(value, radix: 16)
}
