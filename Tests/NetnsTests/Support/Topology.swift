// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation

/// Peer namespaces p1, p2 and so on at the far ends of veth pairs.
///
/// a1 (10.9.1.1, fd09:1::1) is here,
/// b1 (10.9.1.2, fd09:1::2) in p1, and so on. Neighbours are known, so no packet waits for ARP.
struct Topology {
  let peers: Int

  static func build(peers: Int) throws {
    var script = ""
    for n in 1...peers {
      script += """
        ip netns add p\(n)
        ip link add a\(n) address 02:00:00:00:0\(n):01 type veth peer name b\(n) \
        address 02:00:00:00:0\(n):02 netns p\(n)
        ip addr add 10.9.\(n).1/24 dev a\(n)
        ip addr add fd09:\(n)::1/64 dev a\(n) nodad
        ip -n p\(n) addr add 10.9.\(n).2/24 dev b\(n)
        ip -n p\(n) addr add fd09:\(n)::2/64 dev b\(n) nodad
        ip link set a\(n) up
        ip -n p\(n) link set lo up
        ip netns exec p\(n) sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'
        ip -n p\(n) link set b\(n) up
        ip neigh replace 10.9.\(n).2 lladdr 02:00:00:00:0\(n):02 dev a\(n) nud permanent
        ip neigh replace fd09:\(n)::2 lladdr 02:00:00:00:0\(n):02 dev a\(n) nud permanent
        ip -n p\(n) neigh replace 10.9.\(n).1 lladdr 02:00:00:00:0\(n):01 dev b\(n) nud permanent
        ip -n p\(n) neigh replace fd09:\(n)::1 lladdr 02:00:00:00:0\(n):01 dev b\(n) nud permanent
        ip -n p\(n) route add default via 10.9.\(n).1
        ip -n p\(n) -6 route add default via fd09:\(n)::1

        """
    }
    try Shell.run(script)
  }

  /// Takes away all interfaces, namespaces and rules, whoever made them.
  static func clear() throws {
    try Shell.run(
      """
      nft flush ruleset
      for table in mangle nat raw filter; do
        iptables-legacy -t $table -F; iptables-legacy -t $table -X; done 2>/dev/null || true
      for name in $(ip netns list | cut -d' ' -f1); do ip netns del $name; done
      for name in $(ip -o link show type veth | cut -d: -f2 | cut -d@ -f1); do
        ip link del $name 2>/dev/null || true; done
      for name in $(ip -o link show type bridge | cut -d: -f2); do ip link del $name; done
      echo 0 > /proc/sys/net/ipv4/ip_forward
      echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
      """)
  }

  /// Keeps the first link's ends from saying anything by themselves, as IPv6 does.
  func silence() throws {
    try Shell.run(
      """
      echo 1 > /proc/sys/net/ipv6/conf/a1/disable_ipv6
      ip netns exec p1 sh -c 'echo 1 > /proc/sys/net/ipv6/conf/b1/disable_ipv6'
      """)
  }

  func enableForwarding() throws {
    try Shell.run(
      "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
  }

  /// Counts UDP packets at POSTROUTING after every hook of ours: what was let go.
  func countDepartures(_ match: String = "udp dport 7") throws {
    try Shell.run(
      """
      nft 'add table inet witness; add chain inet witness post \
      { type filter hook postrouting priority 300; }; \
      add rule inet witness post meta l4proto udp \(match) counter'
      """)
  }

  /// What `countDepartures` has counted.
  func departures() throws -> Int {
    let text = try Shell.run("nft list chain inet witness post")
    let words = text.split(whereSeparator: \.isWhitespace)
    guard let place = words.firstIndex(of: "packets") else { return -1 }
    return Int(words[place + 1]) ?? -1
  }

  /// UDP datagrams that the peer's device or socket could not take.
  func drops(peer: Int, port: UInt16) throws -> Int {
    let rows = try Shell.run(
      "ip netns exec p\(peer) cat /proc/net/udp; cat /proc/thread-self/net/dev")
    let hexadecimal = ":" + String(UInt32(port) | 0x10000, radix: 16).dropFirst().uppercased()
    var sum = 0
    for line in rows.split(separator: "\n") {
      let columns = line.split(separator: " ")
      // The veth device here counts what its other end could not take.
      if columns.count > 12, columns[0] == "a\(peer):" { sum += Int(columns[12]) ?? 0 }
      if columns.count > 12, columns[1].hasSuffix(hexadecimal) {
        sum += Int(columns.last ?? "") ?? 0
      }
    }
    return sum
  }
}

/// Makes a topology for one test and takes everything away afterwards, whatever happens.
func withTopology(peers: Int = 1, _ body: (Topology) async throws -> Void) async throws {
  try Topology.clear()
  let result: Result<Void, any Error>
  do {
    try Topology.build(peers: peers)
    try await body(Topology(peers: peers))
    result = .success(())
  } catch {
    result = .failure(error)
  }
  try Topology.clear()
  try result.get()
}

/// Runs `body` on this thread inside a peer's namespace: sockets made there stay there.
func inNamespace<Result>(_ name: String?, _ body: () throws -> Result) rethrows -> Result {
  guard let name else { return try body() }
  typealias Enter = @convention(c) (Int32, Int32) -> Int32
  let enter = unsafeBitCast(dlsym(nil, "setns"), to: Enter.self)
  let home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
  let away = open("/run/netns/\(name)", O_RDONLY | O_CLOEXEC)
  precondition(home >= 0 && away >= 0 && enter(away, 0x4000_0000) == 0)
  defer {
    precondition(enter(home, 0x4000_0000) == 0)
    close(home)
    close(away)
  }
  return try body()
}
