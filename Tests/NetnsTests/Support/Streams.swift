// SPDX-License-Identifier: Apache-2.0

import Glibc

/// TCP between the addresses of a topology.
final class Stream: Sendable {
  private let descriptor: Int32

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  private static func open(in namespace: String?, isIPv6: Bool, from port: UInt16) -> Int32 {
    let descriptor = inNamespace(namespace) {
      socket(isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    }
    precondition(descriptor >= 0)
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    if port != 0 {
      precondition(withAddress(isIPv6 ? "::" : "0.0.0.0", port) { bind(descriptor, $0, $1) } == 0)
    }
    return descriptor
  }

  /// A socket that accepts connections, all of which the kernel takes by itself.
  static func listen(
    in namespace: String? = nil, isIPv6: Bool = false, port: UInt16
  ) -> Stream {
    let stream = Stream(open(in: namespace, isIPv6: isIPv6, from: port))
    precondition(Glibc.listen(stream.descriptor, 16) == 0)
    return stream
  }

  /// A connection; nil if it does not come about within `milliseconds`.
  static func connect(
    in namespace: String? = nil, to address: String, port: UInt16, from: UInt16 = 0,
    within milliseconds: Int32 = 5000
  ) -> Stream? {
    let stream = Stream(open(in: namespace, isIPv6: address.contains(":"), from: from))
    _ = fcntl(stream.descriptor, F_SETFL, O_NONBLOCK)
    let result = withAddress(address, port) { Glibc.connect(stream.descriptor, $0, $1) }
    if result == 0 { return stream }
    guard errno == EINPROGRESS else { return nil }
    var ready = pollfd(fd: stream.descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&ready, 1, milliseconds) == 1 else { return nil }
    var (error, length) = (Int32(0), socklen_t(4))
    getsockopt(stream.descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
    return error == 0 ? stream : nil
  }

  /// Sends bytes; false if the connection is broken.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
  }
}
