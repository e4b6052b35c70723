// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Glibc
import Testing

@testable import FirewallRules

/// The tests that change a network namespace; one at a time, and only in one made for tests.
@Suite(
  .serialized,
  .enabled(if: Namespace.isOurs, "needs CALLOUT_NETNS=1 in a namespace made by unshare -n -m"))
struct KernelTests {}

/// The network namespace that the test process was put in.
enum Namespace {
  /// True if the namespace was made for tests: never the one the machine lives in.
  static let isOurs: Bool = {
    guard let wish = getenv("CALLOUT_NETNS"), String(cString: wish) == "1" else { return false }
    return geteuid() == 0 && link("/proc/self/ns/net") != link("/proc/1/ns/net")
  }()

  /// True in the machine that `make guest-test` makes for tests, kernel and all.
  static let isGuest = getenv("CALLOUT_GUEST") != nil

  private static func link(_ path: String) -> String {
    var target = [CChar](repeating: 0, count: 128)
    let count = max(0, readlink(path, &target, target.count))
    return String(decoding: target.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Runs a shell command and returns what it printed, errors included.
  @discardableResult
  static func shell(_ command: String) -> String {
    guard let pipe = popen("{ \(command)\n} 2>&1", "r") else { return "popen failed" }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 {
      text += chunk.prefix(count)
    }
    pclose(pipe)
    return String(decoding: text, as: UTF8.self)
  }

  /// Brings loopback up and takes away what earlier tests of ours have left.
  static func clean() {
    shell(
      """
      ip link set lo up
      nft flush ruleset
      iptables-legacy -t mangle -F; iptables-legacy -t mangle -X
      ip6tables-legacy -t mangle -F; ip6tables-legacy -t mangle -X
      for i in 1 2 3 4 5 6 7 8 9; do ipset destroy && break; sleep 0.02; done
      ip rule del pref 4711; ip -6 rule del pref 4712
      """)
  }

  /// True if this kernel has nft's own `queue` statement.
  static var hasQueueStatement: Bool {
    shell("printf 'table inet t { chain c { queue to 1; }; }' | nft -c -f -").isEmpty
  }

  /// The handles of all chains, as nft lists them.
  static func chains(_ table: String = "callout") -> [String] {
    shell("nft -a list table inet \(table)").split(separator: "\n")
      .filter { $0.contains("chain ") }.map(String.init)
  }
}

/// A queue whose packets are never answered, until it is closed.
final class Holder {
  let queue: UInt16
  private let descriptor: Int32

  init(_ queue: UInt16) {
    self.queue = queue
    descriptor = cnf_netlink_open(NETLINK_NETFILTER)
    configure([5, 0, 1, 0, 1, 0, 0, 0])  // NFQA_CFG_CMD: bind
    configure([9, 0, 2, 0, 0, 0, 0, 64, 2, 0, 0, 0])  // NFQA_CFG_PARAMS: 64 bytes, packets
  }

  deinit { close(descriptor) }

  private func configure(_ attribute: [UInt8]) {
    // The command attribute is 8 bytes long, the parameters 9; both are padded above.
    var attribute = attribute
    attribute[0] = attribute[2] == 1 ? 8 : 9
    let size = UInt8(20 + attribute.count)
    let message: [UInt8] =
      [size, 0, 0, 0, 2, 3, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]  // NFQNL_MSG_CONFIG with ack
      + [0, 0, UInt8(queue >> 8), UInt8(queue & 0xff)] + attribute
    _ = send(descriptor, message, message.count, 0)
    var answer = [UInt8](repeating: 0, count: 4096)
    let count = recv(descriptor, &answer, answer.count, 0)
    #expect(count >= 20 && answer[16..<20].allSatisfy { $0 == 0 }, "binding queue \(queue)")
  }

  /// How many packets wait, or nil if the queue is gone.
  var waiting: UInt32? {
    get throws { try QueueScan.bound().first { $0.number == queue }?.waiting }
  }
}

/// Two UDP sockets on loopback, so that nothing else answers.
final class Datagrams {
  private let sender: Int32
  private let receiver: Int32
  private let isIPv6: Bool
  let port: UInt16

  init(ipv6: Bool = false) {
    isIPv6 = ipv6
    let family = ipv6 ? AF_INET6 : AF_INET
    sender = socket(family, Int32(SOCK_DGRAM.rawValue), 0)
    receiver = socket(family, Int32(SOCK_DGRAM.rawValue), 0)
    port = ipv6 ? 29996 : 29994
    _ = withAddress { bind(receiver, $0, $1) }
    var limit = timeval(tv_sec: 0, tv_usec: 200_000)
    setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit {
    close(sender)
    close(receiver)
  }

  /// Sends datagrams of one byte, with a mark if one is given.
  func send(_ count: Int, mark: UInt32 = 0) {
    var mark = mark
    setsockopt(sender, SOL_SOCKET, SO_MARK, &mark, 4)
    for _ in 0..<count {
      _ = withAddress { sendto(sender, "x", 1, 0, $0, $1) }
    }
  }

  /// How many datagrams have arrived, until none comes for 0.2 s.
  func received() -> Int {
    var count = 0
    var byte: UInt8 = 0
    while recv(receiver, &byte, 1, 0) == 1 { count += 1 }
    return count
  }

  private func withAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int) -> Int {
    if isIPv6 {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      address.sin6_addr = in6addr_loopback
      return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
        }
      }
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  private func withAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    Int32(withAddress { Int(body($0, $1)) })
  }
}
