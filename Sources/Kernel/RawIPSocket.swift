// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A socket that sends whole IP packets, header included.
///
/// Needs CAP_NET_RAW.
public final class RawIPSocket: Sendable {
  private let descriptor: OwnedDescriptor
  private let isIPv6: Bool

  /// Opens the socket of one family.
  public init(isIPv6: Bool) throws(SystemError) {
    self.isIPv6 = isIPv6
    descriptor = try OwnedDescriptor(
      checking: clx_raw_ip_socket(isIPv6 ? AF_INET6 : AF_INET), operation: "open raw socket")
  }

  /// Sends a packet with `mark` on it.
  ///
  /// The destination is in host order: an IPv4 address in the low 32 bits of `low`, an IPv6 address
  /// in both. Not for two threads at once.
  public func send(_ packet: [UInt8], mark: UInt32, high: UInt64, low: UInt64) throws(SystemError) {
    guard clx_set_mark(descriptor.number, mark) == 0 else { throw .current("set mark") }
    let sent = unsafe packet.withUnsafeBytes { bytes in
      guard isIPv6 else {
        return unsafe clx_send_raw_ipv4(
          descriptor.number, bytes.baseAddress, bytes.count,
          UInt32(truncatingIfNeeded: low).bigEndian)
      }
      let address: [2 of UInt64] = [high.bigEndian, low.bigEndian]
      return unsafe address.span.withUnsafeBytes { address in
        unsafe clx_send_raw_ipv6(
          descriptor.number, bytes.baseAddress, bytes.count,
          address.bindMemory(to: UInt8.self).baseAddress)
      }
    }
    guard sent == packet.count else { throw .current("send packet") }
  }
}
