// SPDX-License-Identifier: Apache-2.0

import Testing

import Kernel
@testable import FirewallRules

@Suite struct RenderTests {
  private let ruleSet = RuleSet(
    queues: 31000...31001, hooks: [.input: .both, .output: .ipv4], bypass: true,
    passMark: MarkMatch(value: 0x8000_0000, mask: 0x8000_0000))

  private let nftText = """
    table inet callout {}
    flush table inet callout
    table inet callout {
      chain input {
        type filter hook input priority -150; policy accept;
        meta nfproto ipv4 meta mark & 0x80000000 != 0x80000000 counter queue flags bypass to 31000-31001
        meta nfproto ipv6 meta mark & 0x80000000 != 0x80000000 counter queue flags bypass to 31000-31001
      }
      chain output {
        type filter hook output priority -150; policy accept;
        meta nfproto ipv4 meta mark & 0x80000000 != 0x80000000 counter queue flags bypass to 31000-31001
      }
    }

    """

  @Test func `nft rules are printed in nft syntax`() {
    #expect(Firewall.render(ruleSet, backend: .nft) == nftText)
  }

  @Test func `compat rules are printed as nft rules with a remark`() {
    let text = Firewall.render(ruleSet, backend: .nftCompat)
    #expect(text.hasPrefix("# This kernel lacks"))
    #expect(text.hasSuffix(nftText))
  }

  @Test func `compat rules say that the frames of bridges cannot be had`() {
    let rules = RuleSet(
      queues: 5...6, hooks: [.prerouting: .bridge, .output: .ipv4], bypass: true)
    let text = Firewall.render(rules, backend: .nftCompat)
    #expect(text.contains("bridges cannot be queued by xtables: the bridge table below cannot be"))
    #expect(text.hasSuffix("\n" + Firewall.render(rules, backend: .nft)))
    #expect(text.contains("\ntable bridge callout {}\n"))
    #expect(!Firewall.render(ruleSet, backend: .nftCompat).contains("bridge"))
  }

  @Test func `the block form and one queue have no bypass and no range`() {
    let text = Firewall.render(
      RuleSet(queues: 5...5, hooks: [.forward: .ipv6], bypass: false, priority: 10),
      backend: .nft)
    #expect(text.contains("    meta nfproto ipv6 counter queue to 5\n"))
    #expect(text.contains("chain forward_p10 {\n    type filter hook forward priority 10;"))
  }

  @Test func `the frames of bridges get a table of their own`() {
    let rules = RuleSet(
      queues: 5...6, hooks: [.prerouting: .bridge, .output: [.ipv4, .bridge]], bypass: true)
    #expect(
      Firewall.render(rules, backend: .nft) == """
        table inet callout {}
        flush table inet callout
        table inet callout {
          chain output {
            type filter hook output priority -150; policy accept;
            meta nfproto ipv4 counter queue flags bypass to 5-6
          }
        }
        table bridge callout {}
        flush table bridge callout
        table bridge callout {
          chain prerouting {
            type filter hook prerouting priority -150; policy accept;
            counter queue flags bypass to 5-6
          }
          chain output {
            type filter hook output priority -150; policy accept;
            counter queue flags bypass to 5-6
          }
        }

        """)
    #expect(Families([.ipv6, .bridge]).description == "ipv6+bridge")
    #expect(!Firewall.render(ruleSet, backend: .nft).contains("bridge"))
  }

  @Test func `iptables has no rules for frames and says so`() async {
    let rules = RuleSet(queues: 5...6, hooks: [.forward: .bridge], bypass: true)
    let error = await #expect(throws: RuleError.self) {
      try await IPTablesBackend.apply(rules)
    }
    #expect(error == .noBridgeQueue(reason: "iptables knows no frames"))
    #expect(error?.description.contains("MAC layers") == true)
    #expect(throws: RuleError.self) { try RuleBackend.iptables.checkFrames() }
  }

  @Test func `iptables rules are printed as restore input by family`() {
    let expected = """
      # Rules after ours in the same built-in chain never see queued or bypassed packets.
      # iptables-restore --noflush
      *mangle
      :CALLOUT-INPUT - [0:0]
      :CALLOUT-OUTPUT - [0:0]
      -A CALLOUT-INPUT -m mark ! --mark 0x80000000/0x80000000 -j NFQUEUE --queue-balance 31000:31001 --queue-bypass
      -A CALLOUT-OUTPUT -m mark ! --mark 0x80000000/0x80000000 -j NFQUEUE --queue-balance 31000:31001 --queue-bypass
      -A INPUT -j CALLOUT-INPUT
      -A OUTPUT -j CALLOUT-OUTPUT
      COMMIT

      # ip6tables-restore --noflush
      *mangle
      :CALLOUT-INPUT - [0:0]
      -A CALLOUT-INPUT -m mark ! --mark 0x80000000/0x80000000 -j NFQUEUE --queue-balance 31000:31001 --queue-bypass
      -A INPUT -j CALLOUT-INPUT
      COMMIT

      """
    #expect(Firewall.render(ruleSet, backend: .iptables) == expected)
  }

  @Test func `a difference names what is missing and what is too much`() {
    let installed = InstalledRules(
      backend: .nft, table: "callout", hooks: [.output],
      rules: [
        InstalledRule(
          hook: .output, priority: -150, family: .ipv4, queues: 1...1, bypass: false,
          passMark: nil, packets: 9, bytes: 9)
      ], unrecognized: ["inet callout output handle 4"])
    let wanted = RuleSet(queues: 1...2, hooks: [.output: .ipv4], bypass: true)
    #expect(
      installed.differences(from: wanted) == [
        "- output (priority -150) ipv4: queue 1, block without a listener",
        "+ output (priority -150) ipv4: queue 1-2, bypass",
      ])
  }

  @Test(arguments: ["", "1abc", "a b", "x;y", "abcdefghijklmnopq", "tablé", "-a"])
  func `a table name that could not be one is refused`(name: String) {
    #expect(throws: RuleError.self) { try Firewall(backend: .nft, table: name) }
  }

  @Test func `rules that no kernel could take are refused`() {
    var bad = ruleSet
    bad.queues = 0...65535
    #expect(throws: RuleError.self) { try bad.validate() }
    bad = ruleSet
    bad.passMark = MarkMatch(value: 3, mask: 1)
    #expect(throws: RuleError.self) { try bad.validate() }
    bad.passMark = MarkMatch(value: 0, mask: 0)
    #expect(throws: RuleError.self) { try bad.validate() }
  }

  @Test func `errors say what to do`() {
    let refused = RuleError.refused(operation: "apply table callout", errno: 1, message: nil)
    #expect(
      refused.description == "apply table callout: Operation not permitted (needs CAP_NET_ADMIN)")
    #expect(RuleError.missingProgram("iptables-save").description.contains("install it"))
    let status = QueueStatus(
      number: 7, portID: 1, waiting: 3, copyMode: 2, copyRange: 0, queueDropped: 0,
      userDropped: 0, lastID: 3)
    #expect(RuleError.queuesHoldPackets([status]).description.contains("queue 7: 3 waiting"))
  }
}
