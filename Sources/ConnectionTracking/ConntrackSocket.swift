// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketViews

/// Asks the kernel for its connections and changes them.
///
/// Each call waits for the kernel's answer. For one thread at a time; in the network namespace of
/// the thread that made it.
public struct ConntrackSocket: ~Copyable {
  private let channel: NetlinkChannel
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)
  private var sequence: UInt32 = 0

  /// Opens a socket.
  public init() throws(ConntrackError) {
    do throws(SystemError) {
      channel = try NetlinkChannel(.netfilter)
    } catch {
      throw .system(error)
    }
  }

  /// The connection of which one direction looks like this.
  ///
  /// `IPCTNL_MSG_CT_GET`.
  public mutating func connection(of tuple: ConntrackTuple) throws(ConntrackError) -> Connection {
    var request = self.request(1, NetfilterRequest.plain, tuple)
    request.add(1, tuple)
    guard let connection = try exchange(request, "look up connection") else {
      throw .malformedAnswer
    }
    return connection
  }

  /// Calls `body` for each connection of either family.
  ///
  /// `IPCTNL_MSG_CT_GET` with `NLM_F_DUMP`.
  public mutating func forEachConnection(_ body: (Connection) -> Void) throws(ConntrackError) {
    sequence &+= 1
    let request = NetfilterRequest(
      Netfilter.conntrack << 8 | 1, flags: NetfilterRequest.dump, sequence: sequence, family: 0)
    try send(request)
    while true {
      let bytes = try receive("list connections")
      let messages = buffer.span.packetBytes.slice(from: 0, length: bytes)
      guard messages.native32(at: 8) == sequence else { continue }
      var cursor = 0
      while let message = ConntrackMessage.next(in: messages, at: &cursor) {
        switch message {
        case .connection(let connection, isNew: _): body(connection)
        case .done: return
        case .refused(let errno): throw .refused(operation: "list connections", errno: errno)
        case .ended, .other: continue
        }
      }
    }
  }

  /// Replaces the bits of a connection's mark that `mask` has by those of `mark`.
  ///
  /// Throws `notFound` until the connection's first packet has left this host or reached it.
  /// `CTA_MARK`, `CTA_MARK_MASK`.
  public mutating func setMark(
    _ mark: UInt32, mask: UInt32, of tuple: ConntrackTuple
  ) throws(ConntrackError) {
    var request = self.request(0, NetfilterRequest.acknowledged, tuple)
    request.add(1, tuple)
    request.add(8, mark & mask)
    request.add(21, mask)
    _ = try exchange(request, "mark connection")
  }

  /// Has the kernel forget a connection.
  ///
  /// `IPCTNL_MSG_CT_DELETE`.
  public mutating func delete(_ tuple: ConntrackTuple) throws(ConntrackError) {
    var request = self.request(2, NetfilterRequest.acknowledged, tuple)
    request.add(1, tuple)
    _ = try exchange(request, "delete connection")
  }

  private mutating func request(
    _ type: UInt16, _ flags: UInt16, _ tuple: ConntrackTuple
  ) -> NetfilterRequest {
    sequence &+= 1
    return NetfilterRequest(
      Netfilter.conntrack << 8 | type, flags: flags, sequence: sequence,
      family: tuple.source.version == .v6 ? 10 : 2)  // AF_INET6, AF_INET
  }

  /// Sends a request; returns the connection it is answered with, nil for an acknowledgement.
  private mutating func exchange(
    _ request: NetfilterRequest, _ operation: String
  ) throws(ConntrackError) -> Connection? {
    try send(request)
    while true {
      let bytes = try receive(operation)
      // An answer that came too late for the request before.
      guard buffer.span.packetBytes.native32(at: 8) == sequence else { continue }
      var cursor = 0
      let message = ConntrackMessage.next(
        in: buffer.span.packetBytes.slice(from: 0, length: bytes), at: &cursor)
      switch message {
      case .connection(let connection, isNew: _): return connection
      case .refused(errno: 0): return nil
      case .refused(errno: 2): throw .notFound  // ENOENT
      case .refused(let errno): throw .refused(operation: operation, errno: errno)
      case .ended, .done, .other, nil: throw .malformedAnswer
      }
    }
  }

  private func send(_ request: NetfilterRequest) throws(ConntrackError) {
    do throws(SystemError) {
      try channel.send(request.bytes)
    } catch {
      throw .system(error)
    }
  }

  private mutating func receive(_ operation: String) throws(ConntrackError) -> Int {
    let arrival: NetlinkChannel.Arrival
    do throws(SystemError) {
      arrival = try channel.receive(into: &buffer)
    } catch {
      throw .system(error)
    }
    switch arrival {
    case .datagram(let count): return count
    case .nothing: throw .refused(operation: operation, errno: 110)  // ETIMEDOUT
    case .overrun, .tooLong: throw .malformedAnswer
    }
  }
}
