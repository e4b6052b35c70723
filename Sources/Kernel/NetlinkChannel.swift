// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// A netlink socket to one part of the kernel, in the network namespace of the thread that opens it.
public struct NetlinkChannel: ~Copyable, Sendable {
  /// What a look at the socket brought.
  public enum Arrival: Sendable, Hashable {
    /// A datagram of so many bytes, at the beginning of the buffer.
    case datagram(Int)
    /// Nothing has come, or not in time.
    case nothing
    /// Datagrams were lost, since nobody read them in time.
    ///
    /// `ENOBUFS`.
    case overrun
    /// A datagram that does not fit into the buffer; it is lost.
    case tooLong(Int)
  }

  /// The part of the kernel that is asked.
  public enum Bus: CInt, Sendable {
    /// `NETLINK_SOCK_DIAG`.
    case socketDiagnostics = 4
    /// `NETLINK_NETFILTER`.
    case netfilter = 12

    fileprivate var name: String {
      switch self {
      case .socketDiagnostics: "socket diagnostics"
      case .netfilter: "netfilter"
      }
    }
  }

  private let descriptor: OwnedDescriptor
  private let bus: Bus

  /// Opens a socket for requests, whose answers are waited for five seconds, or, with the bits of
  /// groups (bit 0 is group 1), one that is told of events and never waits, with so much room for
  /// those not yet read.
  public init(
    _ bus: Bus, groups: UInt32 = 0, receiveBufferBytes: Int32? = nil
  ) throws(SystemError) {
    let opened = try OwnedDescriptor(
      checking: clx_open_netlink(bus.rawValue, groups), operation: "open \(bus.name) socket")
    if let receiveBufferBytes {
      guard clx_force_receive_buffer(opened.number, receiveBufferBytes) == 0 else {
        throw .current("set receive buffer")
      }
    }
    self.bus = bus
    descriptor = opened
  }

  /// The descriptor to wait on.
  public var pollDescriptor: CInt { descriptor.number }

  /// Sends one or more whole messages.
  public func send(_ request: [UInt8]) throws(SystemError) {
    let sent = unsafe request.withUnsafeBytes { bytes in
      retryingInterrupts { unsafe Glibc.send(descriptor.number, bytes.baseAddress, bytes.count, 0) }
    }
    guard sent == request.count else { throw .current("send to \(bus.name)") }
  }

  /// Reads the next datagram into `buffer`, whose length does not change.
  public func receive(into buffer: inout [UInt8]) throws(SystemError) -> Arrival {
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      retryingInterrupts {
        unsafe recv(descriptor.number, bytes.baseAddress, bytes.count, CInt(MSG_TRUNC))
      }
    }
    if count > buffer.count { return .tooLong(count) }
    if count >= 0 { return .datagram(count) }
    switch errno {
    case EAGAIN: return .nothing
    case ENOBUFS: return .overrun
    default: throw .current("read from \(bus.name)")
    }
  }
}
