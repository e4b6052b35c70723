// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A UDP socket in the test's own namespace.
public final class DatagramSocket {
  private let descriptor: Int32

  /// A socket of one family, bound to `port` if it is not 0.
  public init(isIPv6: Bool = false, port: UInt16 = 0, mark: UInt32 = 0) {
    descriptor = socket(isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    precondition(descriptor >= 0)
    var mark = mark
    if mark != 0 { setsockopt(descriptor, SOL_SOCKET, SO_MARK, &mark, 4) }
    var bytes: Int32 = 8 << 20
    setsockopt(descriptor, SOL_SOCKET, 33 /* SO_RCVBUFFORCE */, &bytes, 4)
    guard port != 0 else { return }
    if isIPv6 {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          precondition(bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0)
        }
      }
    } else {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          precondition(bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0)
        }
      }
    }
  }

  deinit { close(descriptor) }

  /// Sends one datagram; false if the kernel refused it.
  @discardableResult
  public func send(_ payload: [UInt8], to address: String, port: UInt16) -> Bool {
    if address.contains(":") {
      var target = sockaddr_in6()
      target.sin6_family = sa_family_t(AF_INET6)
      target.sin6_port = port.bigEndian
      inet_pton(AF_INET6, address, &target.sin6_addr)
      return withUnsafePointer(to: &target) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          sendto(
            descriptor, payload, payload.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
        }
      } == payload.count
    }
    var target = sockaddr_in()
    target.sin_family = sa_family_t(AF_INET)
    target.sin_port = port.bigEndian
    inet_pton(AF_INET, address, &target.sin_addr)
    return withUnsafePointer(to: &target) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, payload, payload.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    } == payload.count
  }

  /// The next datagram, or nil if none comes within `milliseconds`.
  public func receive(within milliseconds: Int32 = 5000) -> [UInt8]? {
    var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&ready, 1, milliseconds) == 1 else { return nil }
    var buffer = [UInt8](repeating: 0, count: 65536)
    let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    return count >= 0 ? Array(buffer.prefix(count)) : nil
  }

  /// Datagrams that arrive until none comes for `milliseconds`.
  public func drain(quiet milliseconds: Int32 = 200) -> [[UInt8]] {
    var all: [[UInt8]] = []
    while let datagram = receive(within: milliseconds) { all.append(datagram) }
    return all
  }
}
