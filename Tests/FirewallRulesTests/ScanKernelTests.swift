// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FirewallRules

extension KernelTests {
  @Suite(.serialized) struct ScanKernelTests {
    init() { Namespace.clean() }

    private func nft(_ rule: String) {
      let answer = Namespace.shell(
        """
        nft 'add table inet foreign
        add chain inet foreign c { type filter hook output priority 7; }
        add map inet foreign names { type mark : verdict; }
        add set inet foreign pairs { type mark . inet_service; }
        add rule inet foreign c \(rule)'
        """)
      #expect(answer.isEmpty, "\(rule): \(answer)")
    }

    @Test func `a namespace without rules uses no mark`() async throws {
      #expect(try await MarkScan.scan().isEmpty)
      #expect(try await QueueScan.named().isEmpty)
    }

    @Test(
      arguments: [
        ("meta mark 0x10", [.max]),
        ("meta mark & 0x00ff0000 == 0x00080000", [0x00ff_0000]),
        ("meta mark & 0xf0 != 0x10 meta mark & 0xf == 3", [0xf0, 0xf]),
        ("meta mark 1-5", [.max]),
        ("meta mark { 1, 2 }", [.max]),
        ("meta mark & 0xff vmap @names", [0xff]),
        ("meta mark . udp dport @pairs", [.max]),
        ("meta mark set 0x1", [.max]),
        ("meta mark set meta mark & 0xfffffff0", [0xf]),
        ("meta mark set meta mark | 0x4000", [0x4000]),
        ("meta mark set meta mark ^ 0x8000", [0x8000]),
        ("meta mark set meta mark & 0xffff00ff | 0x1200", [0xff00]),
        ("meta mark set ct mark", [.max]),
        ("meta mark set ip protocol map { 6 : 0x1, 17 : 0x2 }", [.max]),
        ("ct mark set meta mark", [.max]),
        ("ct mark set meta mark & 0xff", [0xff]),
        ("meta mark set jhash meta mark & 0xf0 mod 8", [0xf0, .max]),
        ("udp dport 53 accept", []),
      ] as [(String, [UInt32])])
    func `the marks in nft rules are found`(rule: String, masks: [UInt32]) async throws {
      nft(rule)
      let uses = try await MarkScan.scan().filter { $0.subject == .packet }
      #expect(uses.map(\.mask).sorted() == masks.sorted(), "\(rule)")
      #expect(uses.allSatisfy { $0.origin == .nft && $0.rule.hasPrefix("inet foreign c handle") })
    }

    @Test(arguments: ["ct mark 0x1", "ct mark set 0x5", "ct mark set ct mark | 0x5"])
    func `nft rules on connection marks alone are told apart`(rule: String) async throws {
      nft(rule)
      let uses = try await MarkScan.scan()
      #expect(uses.map(\.subject) == [.connection])
      #expect(MarkScan.freeField(in: uses) != nil)
    }

    @Test(arguments: ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"])
    func `the marks in iptables rules are found`(program: String) async throws {
      let answer = Namespace.shell(
        """
        \(program) -t mangle -F
        \(program) -t mangle -A OUTPUT -m mark --mark 0x10/0xf0 -j ACCEPT
        \(program) -t mangle -A OUTPUT -m mark ! --mark 0xca6c -j ACCEPT
        \(program) -t mangle -A PREROUTING -j MARK --set-xmark 0x4000/0x4000
        \(program) -t mangle -A PREROUTING -j CONNMARK --restore-mark --nfmask 0xf00 --ctmask 0xf00
        \(program) -t mangle -A PREROUTING -j CONNMARK --save-mark --nfmask 0xf0000 --ctmask 0xf0000
        \(program) -t mangle -A PREROUTING -m connmark --mark 0x1 -j ACCEPT
        """)
      #expect(answer.isEmpty)
      let uses = try await MarkScan.scan()
      let packet = uses.filter { $0.subject == .packet }
      #expect(packet.map(\.mask).sorted() == [0xf0, 0xf00, 0x4000, 0xf0000, .max])
      let expected: RuleOrigin = program.hasSuffix("nft") ? .iptables : .iptablesLegacy
      #expect(uses.allSatisfy { $0.origin == expected })
      #expect(uses.contains { $0.subject == .connection })
      Namespace.shell("\(program) -t mangle -F")
    }

    @Test func `routing rules and reflecting settings are found`() async throws {
      Namespace.shell(
        "ip rule add pref 4711 fwmark 0xca6c table 51820; "
          + "ip -6 rule add pref 4712 fwmark 0x80000/0xff0000 table 52")
      let uses = try await MarkScan.scan()
      #expect(
        uses == [
          MarkUse(
            mask: .max, origin: .ipRule,
            rule: "ip rule 4711: fwmark 0xca6c/0xffffffff table 51820"),
          MarkUse(
            mask: 0xff_0000, origin: .ipRule,
            rule: "ip -6 rule 4712: fwmark 0x80000/0xff0000 table 52"),
        ])
      #expect(try MarkScan.notes().isEmpty)
      Namespace.shell("sysctl -w net.ipv4.fwmark_reflect=1")
      #expect(try MarkScan.notes().first?.hasPrefix("net.ipv4.fwmark_reflect is 1") == true)
      Namespace.shell("sysctl -w net.ipv4.fwmark_reflect=0")
    }

    @Test func `our own rules are left out`() async throws {
      let rules = RuleSet(
        queues: 31900...31901, hooks: [.output: .both], bypass: true,
        passMark: MarkMatch(value: 1, mask: 1))
      for backend in [try RuleBackend.detect(), .iptables] {
        let firewall = try Firewall(backend: backend)
        try await firewall.apply(rules)
        #expect(try await MarkScan.scan().isEmpty)
        #expect(try await QueueScan.named().isEmpty)
        #expect(try await !MarkScan.scan(excluding: "another").isEmpty)
        #expect(try await QueueScan.named(excluding: "another").first?.queues == 31900...31901)
        try await firewall.remove()
      }
    }

    @Test func `queues named by rules are found`() async throws {
      Namespace.shell(
        """
        iptables-nft -A INPUT -j NFQUEUE --queue-balance 3:5 --queue-bypass
        iptables-legacy -t mangle -A INPUT -j NFQUEUE --queue-num 9
        """)
      let uses = try await QueueScan.named()
      #expect(uses.map(\.queues) == [3...5, 9...9])
      #expect(uses.map(\.bypass) == [true, false])
      #expect(uses.map(\.origin) == [.iptables, .iptablesLegacy])
    }

    @Test func `a bound queue and its owner are seen`() throws {
      let holder = Holder(31905)
      let status = try #require(try QueueScan.bound().first { $0.number == holder.queue })
      #expect(status.copyRange == 64)
      #expect(status.copyMode == 2)
      #expect(status.waiting == 0)
    }

    @Test func `packet copies that can come by our output rule are a hazard`() async throws {
      let rules = RuleSet(queues: 31900...31901, hooks: [.output: .both], bypass: true)
      Namespace.shell(
        "iptables-nft -t mangle -A PREROUTING -j TEE --gateway 10.0.0.1; "
          + "iptables-legacy -t mangle -A PREROUTING -j TEE --gateway 10.0.0.1")
      let atPrerouting = try await QueueScan.hazards(for: rules, backend: .nftCompat)
      #expect(atPrerouting.count == 2)
      #expect(atPrerouting.allSatisfy { $0.contains("copies packets at prerouting") })
      Namespace.shell(
        """
        iptables-nft -t mangle -N copies
        iptables-nft -t mangle -A copies -j TEE --gateway 10.0.0.1
        iptables-nft -t mangle -A OUTPUT -j copies
        iptables-legacy -t mangle -N copies
        iptables-legacy -t mangle -A copies -j TEE --gateway 10.0.0.1
        iptables-legacy -t mangle -A OUTPUT -j copies
        """)
      let hazards = try await QueueScan.hazards(for: rules, backend: .nftCompat)
      #expect(hazards.count == 4)
      #expect(hazards.filter { $0.contains("copies packets at output") }.count == 2)
      let harmless = RuleSet(queues: 31900...31901, hooks: [.input: .both], bypass: true)
      #expect(try await QueueScan.hazards(for: harmless, backend: .nftCompat).isEmpty)
    }

    @Test func `a queue of ours that others use is a hazard`() async throws {
      let holder = Holder(31900)
      Namespace.shell("iptables-nft -A INPUT -j NFQUEUE --queue-num 31901")
      let rules = RuleSet(queues: 31900...31901, hooks: [.input: .both], bypass: true)
      let hazards = try await QueueScan.hazards(for: rules, backend: .iptables)
      #expect(hazards.count == 3)
      #expect(hazards.first?.contains("queue \(holder.queue) is already bound by") == true)
    }
  }
}
