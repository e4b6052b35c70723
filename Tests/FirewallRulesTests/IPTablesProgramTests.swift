// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

@testable import FirewallRules

extension KernelTests {
  /// Programs in iptables and ipset, where they are not as in nft.
  @Suite(.serialized) struct IPTablesProgramTests {
    private let firewall: Firewall

    init() throws {
      Namespace.clean()
      firewall = try Firewall(backend: .iptables)
    }

    private func map(
      _ fields: [KernelField], _ elements: [([ClosedRange<UInt128>], KernelVerdict)]
    ) -> KernelMap {
      KernelMap(
        fields: fields,
        elements: elements.enumerated().map {
          KernelElement(ranges: $1.0, verdict: $1.1, filter: $0, name: "filter \($0)")
        })
    }

    private func rules(
      table: String = "callout", family: Families = .ipv4, selection: [KernelMap] = [],
      _ sublayers: [[KernelMap]], queue: UInt16 = 31900
    ) -> RuleSet {
      RuleSet(
        table: table, queues: queue...queue, hooks: [.output: .both], bypass: true,
        programs: [
          KernelProgram(hook: .output, family: family, selection: selection, sublayers: sublayers)
        ])
    }

    private var udp: ClosedRange<UInt128> { 17...17 }

    /// What iptables and ipset hold of ours, in both families.
    private var held: [Substring] {
      Namespace.shell("iptables-save -t mangle; ip6tables-save -t mangle; ipset list -n")
        .split(separator: "\n").filter { $0.contains("CALLOUT") }
    }

    @Test func `a change of what is installed shows, and removal leaves nothing`() async throws {
      let rules = rules([
        [
          map(
            [.transportProtocol, .destinationPort],
            [([udp, 9...9], .block), ([udp, 7...7], .permit)])
        ]
      ])
      try await firewall.apply(rules)
      #expect(try await firewall.diff(rules).isEmpty)
      #expect(held.count { $0.hasPrefix("CALLOUT-A-") } == 2)
      Namespace.shell("ipset flush CALLOUT-A-OUT4-0")
      #expect(try await firewall.diff(rules) == ["+ set OUT4-0: 1 entries"])
      Namespace.shell("iptables -t mangle -D CALLOUT-KF-OUT-1 1")
      #expect(
        try await firewall.diff(rules).contains("- chain CALLOUT-KF-OUT-1 ipv4 of 1 rules"))
      try await firewall.apply(rules)
      #expect(try await firewall.diff(rules).isEmpty)
      #expect(held.count { $0.hasPrefix("CALLOUT-B-") } == 2)
      let plain = RuleSet(queues: 31900...31900, hooks: [.output: .both], bypass: true)
      #expect(try await !firewall.diff(plain).isEmpty)
      try await firewall.apply(plain)
      #expect(try await firewall.diff(plain).isEmpty)
      #expect(!held.contains { $0.contains("-KF-") || $0.hasPrefix("CALLOUT-B-") })
      try await firewall.apply(rules)
      try await firewall.empty()
      #expect(!held.contains { $0.contains("-KF-") || $0.hasPrefix("CALLOUT-A-") })
      try await firewall.apply(rules)
      try await firewall.remove()
      #expect(held.isEmpty, "\(held)")
    }

    @Test func `sets that a killed run left are taken over, those of others stay`() async throws {
      let rules = rules([[map([.destinationAddress], [([1...5], .block)])]])
      Namespace.shell(
        """
        ipset create CALLOUT-A-OUT4-0 hash:ip; ipset add CALLOUT-A-OUT4-0 9.9.9.9
        ipset create CALLOUT-B-OUT4-7 hash:ip; ipset create CALLOUT-MINE hash:ip
        """)
      try await firewall.apply(rules)
      #expect(try await firewall.diff(rules).isEmpty)
      #expect(
        held.filter { !$0.contains(":") && !$0.hasPrefix("-") }.sorted()
          == ["CALLOUT-A-OUT4-0", "CALLOUT-MINE"])
      Namespace.shell("iptables -A OUTPUT -m set --match-set CALLOUT-A-OUT4-0 dst")
      await #expect(throws: RuleError.self) { try await firewall.remove() }
      Namespace.shell("iptables -F OUTPUT")
      try await firewall.remove()
      #expect(held == ["CALLOUT-MINE"], "\(held)")
    }

    @Test func `two tables have their own chains and sets`() async throws {
      let other = try Firewall(backend: .iptables, table: "callout_two")
      let one = rules([[map([.destinationAddress], [([1...5], .block)])]])
      let two = rules(
        table: "callout_two", [[map([.destinationAddress], [([7...9], .permit)])]], queue: 31910)
      try await firewall.apply(one)
      try await other.apply(two)
      #expect(try await firewall.diff(one).isEmpty)
      #expect(try await other.diff(two).isEmpty)
      try await firewall.remove()
      #expect(try await other.diff(two).isEmpty)
      #expect(held.allSatisfy { $0.contains("CALLOUT_TWO") }, "\(held)")
      try await other.remove()
      #expect(held.isEmpty, "\(held)")
    }

    /// Boxes of each shape that a set or a match has.
    private func shapes(_ family: Families) -> [KernelMap] {
      let base: UInt128 = family == .ipv6 ? 0xfd09 << 112 : 0x0a09_0000
      let (host, net, odd) = (base + 1...base + 1, base...(base + 255), base + 3...base + 9)
      return [
        map([.destinationAddress], [([net], .block)]),
        map(
          [.sourceAddress, .destinationAddress], [([odd, net], .block), ([host, host], .permit)]),
        map(
          [.sourceAddress, .destinationAddress, .transportProtocol, .destinationPort],
          [
            ([host, odd, 6...6, 80...90], .block), ([net, host, udp, 53...53], .permit),
            ([odd, net, 132...132, 1...70], .permitForGood),
            ([odd, odd, 136...136, 5...5], .block),
          ]),
        map(
          [.transportProtocol, .sourcePort, .destinationPort],
          [([6...6, 1...2, 1...1000], .block), ([132...132, 7...7, 9...9], .permit)]),
        map([.transportProtocol], [([1...5], .block), ([50...50], .permit)]),
        map(
          [.sourceAddress, .transportProtocol, .icmpType, .icmpCode],
          [([net, 1...1, 3...5, 0...0], .block)]),
        map([.outputDevice], [([1...1], .block), ([2...0xffff_ffff], .permit)]),
        map([.destinationPort, .outputDevice], [([80...80, 3...3], .block)]),
      ]
    }

    @Test(arguments: ["ip", "ip6"])
    func `the printed text loads and is what is installed`(program: String) async throws {
      let family = program == "ip6" ? Families.ipv6 : .ipv4
      let rules = rules(
        family: family,
        selection: [map([.transportProtocol, .destinationPort], [([udp, 9...9], .permit)])],
        [shapes(family), [map([.destinationAddress], [([0...5], .block)])]])
      let text = Firewall.render(rules, backend: .iptables)
      var script = ""
      for part in text.split(separator: "\n# ").map(String.init) where part.contains("\n") {
        let (command, input) = (part.prefix { $0 != "\n" }, part.drop { $0 != "\n" })
        guard command.contains("restore") else { continue }
        script += "\(command) <<'END'\(input)\nEND\n"
      }
      #expect(script.components("restore") == 3)
      #expect(Namespace.shell(script) == "")
      #expect(try await firewall.diff(rules) == [])
      try await firewall.apply(rules)
      #expect(try await firewall.diff(rules) == [])
      try await RuleBackend.iptables.check(rules)
      #expect(!held.contains { $0.contains("TRY") || $0.hasPrefix("CALLOUT-T") })
    }

    @Test func `refused IPv6 rules leave the IPv4 filters as they were, counts and all`()
      async throws
    {
      let before = rules([
        [map([.transportProtocol, .destinationPort], [([udp, 29994...29994], .permit)])]
      ])
      try await firewall.apply(before)
      Datagrams().send(3)
      #expect(try #require(try await firewall.installed()).hits(of: before.programs) == [0: 3])
      let saved = Namespace.shell("iptables-save -c -t mangle | grep KF; ipset save | grep ^add")
      Namespace.shell(
        "nft 'add table ip6 mangle; add chain ip6 mangle CALLOUT-INPUT "
          + "{ type filter hook input priority 5; }'")
      var both = before
      both.hooks = [.output: .both, .input: .both]
      await #expect(throws: RuleError.self) { try await firewall.apply(both) }
      #expect(
        Namespace.shell("iptables-save -c -t mangle | grep KF; ipset save | grep ^add") == saved)
      #expect(try #require(try await firewall.installed()).hits(of: before.programs) == [0: 3])
      Namespace.shell("nft delete table ip6 mangle")
    }

    @Test(arguments: [Families.ipv4, .ipv6])
    func `packets whose transport header is cut short are queued, whole ones are not`(
      family: Families
    ) async throws {
      let rules = rules(
        family: family,
        [
          [
            map(
              [.transportProtocol, .destinationPort],
              [([6...6, 7...7], .block), ([udp, 100...700], .block)])
          ]
        ])
      try await firewall.apply(rules)
      func queued(_ number: Int, _ length: Int) async throws -> UInt64 {
        let before = try #require(try await firewall.installed())
        let (name, address) = family == .ipv6 ? ("AF_INET6", "::1") : ("AF_INET", "127.0.0.1")
        Namespace.shell(
          """
          python3 -c 'import socket
          s = socket.socket(socket.\(name), socket.SOCK_RAW, \(number))
          s.sendto((bytes([0, 9, 0, 9, 0, 8, 0, 0]) + bytes(99))[:\(length)], ("\(address)", 0))'
          """)
        func count(_ rules: InstalledRules) -> UInt64 {
          rules.rules.reduce(0) { $0 + ($1.family == family ? $1.packets : 0) }
        }
        return count(try #require(try await firewall.installed())) - count(before)
      }
      for (number, whole) in [(6, 20), (17, 8)] {
        for length in [0, 3, whole - 1] {
          #expect(try await queued(number, length) == 1, "\(number): \(length)")
        }
        #expect(try await queued(number, whole) == 0, "\(number)")
      }
      #expect(
        try #require(try await firewall.installed()).hits(of: rules.programs) == [0: 0, 1: 0])
    }

    // An emulated machine takes a minute for it.
    @Test(.disabled(if: Namespace.isGuest))
    func `no packet meets half of the rules while they are replaced`() async throws {
      let here: ClosedRange<UInt128> = 0x7f00_0001...0x7f00_0001
      let port: ClosedRange<UInt128> = 29994...29994
      let both = [
        rules([[map([.transportProtocol, .destinationPort], [([udp, port], .block)])]]),
        rules([
          [map([.destinationAddress], [([here], .permit)])],
          [
            map(
              [.destinationAddress, .transportProtocol, .destinationPort],
              [([here, udp, port], .block)])
          ],
        ]),
      ]
      try await firewall.apply(both[0])
      Namespace.shell(
        """
        rm -f /run/stop /run/blocked
        timeout 20 python3 -c 'import os, socket
        to = ("127.0.0.1", 29994)
        r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(to); r.setblocking(False)
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sent = passed = 0
        while not os.path.exists("/run/stop"):
          sent += 1
          try: s.sendto(b"x", to)
          except PermissionError: pass
          try: r.recv(9); passed += 1
          except BlockingIOError: pass
        print("over", sent > 1000, passed)' > /run/blocked 2>&1 &
        """)
      for round in 1...20 { try await firewall.apply(both[round % 2]) }
      let said = Namespace.shell(
        "touch /run/stop; for i in $(seq 100); do grep over /run/blocked && break; sleep 0.05; done"
      )
      #expect(said == "over True 0\n", "\(said)")
    }

    @Test func `more rules than a packet should meet are refused, and none is left`() async throws {
      let ports = (0..<1_100).map { number -> ([ClosedRange<UInt128>], KernelVerdict) in
        let first = UInt128(number * 50)
        return ([132...132, first...(first + 40)], .block)
      }
      let many = rules([[map([.transportProtocol, .destinationPort], ports)]])
      await #expect(throws: RuleError.self) { try await RuleBackend.iptables.check(many) }
      await #expect(throws: RuleError.self) { try await firewall.apply(many) }
      #expect(held.isEmpty)
    }
  }
}

@Suite struct IPSetEntryTests {
  @Test(
    arguments: [
      (0x0a00_0000...0x0a00_00ff, ["10.0.0.0/24"]), (0x0a00_0001...0x0a00_0001, ["10.0.0.1/32"]),
      (0x0a00_0001...0x0a00_0006, ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]),
      (0...0xffff_ffff, ["0.0.0.0/1", "128.0.0.0/1"]),
      (0xffff_fffe...0xffff_ffff, ["255.255.255.254/31"]),
    ] as [(ClosedRange<UInt128>, [String])])
  func `a range of addresses is the fewest prefixes`(
    range: ClosedRange<UInt128>, text: [String]
  ) {
    #expect(IPPrefix.covering(range, .ipv4).map(\.description) == text)
  }

  @Test func `all of IPv6 is two prefixes`() {
    #expect(
      IPPrefix.covering(0...UInt128.max, .ipv6).map(\.description) == ["::/1", "8000::/1"])
  }

  @Test(arguments: [
    ("10.0.0.0/8,tcp:80", "10.0.0.0/8,6:80"),
    ("fd00::1,17:53,fe80::/10", "fd00::1,17:53,fe80::/10"),
    ("::1.2.3.4", "::102:304"), ("85", "85"), ("10.0.0.1,udplite:7", "10.0.0.1,136:7"),
  ])
  func `entries are read as ipset prints them`(text: String, plain: String) {
    #expect(IPSetEntry(text)?.description == plain)
  }

  @Test(arguments: ["", "10.0.0.1,", "x", "tcp:", "tcp:70000", "1.2.3.4/33", "65536", "a:b:c"])
  func `what no set of ours holds is no entry`(text: String) {
    #expect(IPSetEntry(text) == nil)
  }
}
