// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FirewallRules

extension KernelTests {
  @Suite(.serialized) struct IPTablesKernelTests {
    private let firewall: Firewall

    init() throws {
      Namespace.clean()
      firewall = try Firewall(backend: .iptables)
    }

    private func rules(
      _ hooks: [RuleHook: Families], bypass: Bool = true, passMark: MarkMatch? = nil
    ) -> RuleSet {
      RuleSet(queues: 31900...31901, hooks: hooks, bypass: bypass, passMark: passMark)
    }

    @Test func `iptables rules are installed, read back, emptied and removed`() async throws {
      Namespace.shell("iptables -t mangle -A OUTPUT -p udp --dport 1 -j ACCEPT")
      let first = rules(
        [.output: .both, .input: .ipv4], passMark: MarkMatch(value: 1, mask: 3))
      try await firewall.apply(first)
      try await firewall.apply(first)
      #expect(try await firewall.diff(first).isEmpty)
      let saved = Namespace.shell("iptables-save -t mangle")
      #expect(saved.components("-A OUTPUT -j CALLOUT-OUTPUT") == 1)
      let second = rules([.output: .ipv4])
      #expect(try await firewall.diff(second).count == 4)
      try await firewall.apply(second)
      #expect(try await firewall.diff(second).isEmpty)
      #expect(try await firewall.installed()?.hooks == [.input, .output])
      try await firewall.empty()
      #expect(try await firewall.installed()?.rules.isEmpty == true)
      try await firewall.remove()
      #expect(try await firewall.installed() == nil)
      let left = Namespace.shell("iptables-save -t mangle; ip6tables-save -t mangle")
      #expect(!left.contains("CALLOUT"))
      #expect(left.contains("--dport 1 -j ACCEPT"))
      try await firewall.empty()
      try await firewall.remove()
    }

    @Test func `iptables rules count, and a held packet survives them`() async throws {
      let holder = Holder(31901)
      let second = Holder(31900)
      try await firewall.apply(rules([.output: .both]))
      Datagrams().send(3)
      let held = try (holder.waiting ?? 0) + (second.waiting ?? 0)
      #expect(held == 3)
      #expect(
        try await firewall.counters()[.output]?.first
          == RuleCounter(family: .ipv4, packets: 3, bytes: 87))
      try await firewall.apply(rules([.input: .both]))
      try await firewall.empty()
      try await firewall.remove()
      #expect(try (holder.waiting ?? 0) + (second.waiting ?? 0) == 3)
    }

    @Test func `IPv6 rules that are refused leave the IPv4 rules as they were, counts and all`()
      async throws
    {
      let before = rules([.output: .ipv4])
      try await firewall.apply(before)
      Datagrams().send(3)
      let mangle = "iptables-save -c -t mangle | grep CALLOUT"
      let saved = Namespace.shell(mangle)
      #expect(saved.contains("[3:87]"))
      // Nothing can jump to a base chain, and iptables does not see it.
      Namespace.shell(
        "nft 'add table ip6 mangle; add chain ip6 mangle CALLOUT-INPUT "
          + "{ type filter hook input priority 5; }'")
      let both = rules([.output: .both, .input: .both])
      await #expect(throws: RuleError.self) { try await firewall.apply(both) }
      #expect(Namespace.shell(mangle) == saved)
      Namespace.shell("nft delete table ip6 mangle")
      #expect(try await firewall.apply(both) == 3)
      #expect(try await firewall.diff(both).isEmpty)
      try await firewall.empty()
      try await firewall.remove()
    }

    @Test func `what others have put into our iptables chains stays`() async throws {
      try await firewall.apply(rules([.output: .both, .input: .both]))
      Namespace.shell("iptables -t mangle -A CALLOUT-OUTPUT -p udp --dport 1 -j DROP")
      try await firewall.apply(rules([.output: .ipv4]))
      let installed = try #require(try await firewall.installed())
      #expect(installed.unrecognized.count == 1)
      #expect(installed.rules.map(\.planned) == rules([.output: .ipv4]).planned)
      try await firewall.empty()
      try await firewall.remove()
      #expect(
        Namespace.shell("iptables-save -t mangle 2>/dev/null | grep ^-")
          == """
          -A OUTPUT -j CALLOUT-OUTPUT
          -A CALLOUT-OUTPUT -p udp -m udp --dport 1 -j DROP

          """)
    }

    @Test func `another priority is refused`() async throws {
      var wrong = rules([.output: .both])
      wrong.priority = 0
      await #expect(throws: RuleError.self) { try await firewall.apply(wrong) }
    }

    @Test(arguments: ["iptables-nft", "iptables-legacy"])
    func `the iptables files in rules load and are removed`(program: String) throws {
      let six = "ip6" + program.dropFirst(2)
      let folder = Repository.rules
      for _ in 0..<2 {
        #expect(
          Namespace.shell("\(program)-restore --noflush < \(folder)/iptables.v4.rules") == "")
        #expect(Namespace.shell("\(six)-restore --noflush < \(folder)/iptables.v6.rules") == "")
      }
      let saved = Namespace.shell("\(program)-save -t mangle; \(six)-save -t mangle")
      #expect(saved.components("NFQUEUE --queue-balance 31000:31001 --queue-bypass") == 10)
      #expect(
        Namespace.shell(
          "IPTABLES=\(program) IP6TABLES=\(six) \(folder)/iptables-remove.sh"
        ).isEmpty)
      #expect(!Namespace.shell("\(program)-save; \(six)-save").contains("CALLOUT"))
    }

    @Test(arguments: ["inet.nft", "inet-dns-only.nft"])
    func `the nft files in rules are sound`(file: String) throws {
      // Kernels without nft_queue refuse the statement itself; all else must load, twice.
      let queue =
        Namespace.hasQueueStatement ? "s/^$//" : "s/queue( flags bypass)? to [0-9-]+/accept/"
      for _ in 0..<2 {
        #expect(
          Namespace.shell("sed -E '/^ *#/d; \(queue)' \(Repository.rules)/\(file) | nft -f -") == ""
        )
      }
      #expect(!Namespace.chains().isEmpty)
    }
  }
}

/// Where the sources lie.
enum Repository {
  static let rules: String = {
    let parts = #filePath.split(separator: "/").dropLast(3)
    return "/" + (parts + ["rules"]).joined(separator: "/")
  }()
}

extension String {
  /// How often `part` occurs.
  func components(_ part: String) -> Int {
    var count = 0
    var rest = self[...]
    while let found = rest.firstRange(of: part) {
      count += 1
      rest = rest[found.upperBound...]
    }
    return count
  }
}
