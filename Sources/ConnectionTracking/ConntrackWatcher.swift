// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketViews

/// Something that happened to the kernel's connections.
public enum ConntrackEvent: Sendable, Hashable {
  /// The first packet of a connection has left this host or reached it.
  case began(Connection)
  /// A connection was answered, or changed in another way.
  case changed(Connection)
  /// A connection has ended: it was closed or idle for too long, or somebody deleted it.
  case ended(Connection)
  /// More happened than there was room to tell.
  ///
  /// `ENOBUFS`.
  case overrun
}

/// What happens to the connections of the network namespace in which it was made.
///
/// Wait for `pollDescriptor`, then take events until there are none. For one thread at a time.
/// Connections that were there before are told of only if `nf_conntrack_events` is 1.
public struct ConntrackWatcher: ~Copyable {
  private let channel: NetlinkChannel
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)
  private var cursor = 0
  private var end = 0

  /// Begins to watch, with room for so many bytes of events that are not yet read.
  public init(receiveBufferBytes: Int32 = 8 << 20) throws(ConntrackError) {
    do throws(SystemError) {
      // NFNLGRP_CONNTRACK_NEW, _UPDATE and _DESTROY are groups 1, 2 and 3.
      channel = try NetlinkChannel(
        .netfilter, groups: 0b111, receiveBufferBytes: receiveBufferBytes)
    } catch {
      throw .system(error)
    }
  }

  /// The descriptor to wait on.
  public var pollDescriptor: CInt { channel.pollDescriptor }

  /// The next event, nil if there is none now.
  public mutating func next() throws(ConntrackError) -> ConntrackEvent? {
    while true {
      while let message = nextMessage() {
        switch message {
        case .connection(let connection, isNew: true): return .began(connection)
        case .connection(let connection, isNew: false): return .changed(connection)
        case .ended(let connection): return .ended(connection)
        case .refused, .done, .other: continue
        }
      }
      switch try receive() {
      case .datagram(let count): (cursor, end) = (0, count)
      case .nothing: return nil
      case .overrun, .tooLong: return .overrun
      }
    }
  }

  private mutating func nextMessage() -> ConntrackMessage? {
    var next = cursor
    defer { cursor = next }
    return ConntrackMessage.next(
      in: buffer.span.packetBytes.slice(from: 0, length: end), at: &next)
  }

  private mutating func receive() throws(ConntrackError) -> NetlinkChannel.Arrival {
    do throws(SystemError) {
      return try channel.receive(into: &buffer)
    } catch {
      throw .system(error)
    }
  }
}
