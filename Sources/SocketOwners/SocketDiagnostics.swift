// SPDX-License-Identifier: Apache-2.0

public import Kernel
internal import PacketViews

/// Asks the kernel which socket packets belong to.
///
/// `NETLINK_SOCK_DIAG`. Each call waits for the kernel's answer. For one thread at a time; in the network
/// namespace of the thread that made it.
public struct SocketDiagnostics: ~Copyable {
  private let channel: NetlinkChannel
  private var buffer = [UInt8](repeating: 0, count: 1 << 13)
  private var sequence: UInt32 = 0

  /// Opens a socket.
  public init() throws(SystemError) {
    channel = try NetlinkChannel(.socketDiagnostics)
  }

  /// The inode number of the socket that has sent such a packet or that receives it; nil if there is
  /// none, or the kernel tells of no sockets of that protocol.
  ///
  /// Of a connection that no program has accepted yet it is the listener.
  public mutating func inode(of query: SocketQuery) throws(SystemError) -> UInt32? {
    guard query.transportProtocol == .tcp else {
      // UDP's side looks sockets up as a packet that arrives does: its source is the peer.
      if let found = try ask(query, isReversed: true) { return found == 0 ? nil : found }
      let found = try ask(query, isReversed: false)
      return found == 0 ? nil : found
    }
    let found = try ask(query, isReversed: false)
    if found != 0 { return found }
    var listener = query
    listener.remoteAddress =
      query.localAddress.version == .v6 ? IPAddress(high: 0, low: 0) : IPAddress(v4: 0)
    listener.remotePort = 0
    let owner = try ask(listener, isReversed: false)
    return owner == 0 ? nil : owner
  }

  /// The inode number, 0 of a socket without one; nil if there is no such socket.
  private mutating func ask(
    _ query: SocketQuery, isReversed: Bool
  ) throws(SystemError) -> UInt32? {
    sequence &+= 1
    try channel.send(SocketMessage.request(for: query, isReversed: isReversed, sequence))
    while true {
      switch try channel.receive(into: &buffer) {
      case .datagram(let count):
        let answer = SocketMessage(buffer.span.packetBytes.slice(from: 0, length: count))
        // An answer that came too late for the request before.
        guard answer.sequence == sequence else { continue }
        return answer.localPort == query.localPort ? answer.inode : nil
      case .nothing, .overrun, .tooLong: return nil
      }
    }
  }
}

/// What the kernel says of one socket.
struct SocketMessage {
  /// The number of the request that it answers.
  let sequence: UInt32
  /// The port to which the socket is bound; nil for a refusal.
  private(set) var localPort: UInt16?
  /// Its inode number, 0 if no program has it.
  private(set) var inode: UInt32 = 0

  /// `SOCK_DIAG_BY_FAMILY`.
  private static let byFamily: UInt16 = 20

  /// An answer as it came; what is cut off counts as a refusal.
  init(_ bytes: RawSpan) {
    sequence = bytes.bigEndian32(at: 8).byteSwapped
    // struct nlmsghdr, struct inet_diag_msg
    guard bytes.byteCount >= 16 + 72, bytes.bigEndian16(at: 4).byteSwapped == Self.byFamily else {
      return
    }
    localPort = bytes.bigEndian16(at: 16 + 4)
    inode = bytes.bigEndian32(at: 16 + 68).byteSwapped
  }

  /// A request for the socket of a packet.
  static func request(
    for query: SocketQuery, isReversed: Bool, _ sequence: UInt32
  ) -> [UInt8] {
    let ends = [
      (query.localAddress, query.localPort), (query.remoteAddress, query.remotePort),
    ]
    let (source, destination) = isReversed ? (ends[1], ends[0]) : (ends[0], ends[1])
    let family: UInt8 = query.localAddress.version == .v6 ? 10 : 2  // AF_INET6, AF_INET
    // struct inet_diag_req_v2: every state; no cookie.
    var body: [UInt8] = [family, query.transportProtocol.rawValue, 0, 0] + native(UInt32.max)
    body += big(source.1) + big(destination.1) + bytes(source.0) + bytes(destination.0)
    body += native(query.device) + native(UInt32.max) + native(UInt32.max)
    let length = native(UInt32(16 + body.count))
    // NLM_F_REQUEST
    return length + native(byFamily) + native(UInt16(1)) + native(sequence) + native(UInt32(0))
      + body
  }

  /// An address in the room of an IPv6 one.
  private static func bytes(_ address: IPAddress) -> [UInt8] {
    address.version == .v6
      ? big(address.high) + big(address.low)
      : big(UInt32(truncatingIfNeeded: address.low)) + [UInt8](repeating: 0, count: 12)
  }

  private static func big<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    (0..<Number.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: value >> Number($0 * 8)) }
  }

  /// Of Linux's machines all that Swift runs on are little endian.
  private static func native<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    big(value).reversed()
  }
}
