// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The netfilter sockets of this process, a bridge's queues among them, got at behind its back.
enum QueueSockets {
  private static var all: [Int32] {
    (Int32(3)..<1024).filter { descriptor in
      option(descriptor, 39 /* SO_DOMAIN */) == AF_NETLINK
        && option(descriptor, 38 /* SO_PROTOCOL */) == 12  // NETLINK_NETFILTER
    }
  }

  private static func option(_ descriptor: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var length = socklen_t(4)
    return getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
  }

  /// Has them refuse longer messages.
  static func shrinkSendBuffers() {
    var least: Int32 = 1
    for descriptor in all { setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &least, 4) }
  }

  /// Has the kernel copy whole packets, whatever there is room for.
  static func copyWholePackets(of queue: UInt16) {
    let message: [UInt8] =
      [32, 0, 0, 0, 2, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]  // NFQNL_MSG_CONFIG
      + [0, 0, UInt8(queue >> 8), UInt8(queue & 0xff)]
      + [9, 0, 2, 0, 0, 0, 0xff, 0xfb, 2, 0, 0, 0]  // NFQA_CFG_PARAMS
    for descriptor in all { _ = send(descriptor, message, message.count, 0) }
  }
}
