// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Testing

@testable import FirewallRules

extension KernelTests {
  /// The rules with nft's own `queue` statement, on kernels that have it.
  @Suite(
    .serialized,
    .enabled(
      if: Namespace.hasQueueStatement, "this kernel has no nft queue: run make guest-test"))
  struct NativeQueueKernelTests {
    private let firewall: Firewall

    init() throws {
      Namespace.clean()
      firewall = try Firewall(backend: .nft)
    }

    private func rules(
      bypass: Bool = true, queues: ClosedRange<UInt16> = 31900...31903, priority: Int32 = -150
    ) -> RuleSet {
      RuleSet(
        queues: queues,
        hooks: Dictionary(uniqueKeysWithValues: RuleHook.allCases.map { ($0, .both) }),
        bypass: bypass, priority: priority,
        passMark: MarkMatch(value: 0x8000_0000, mask: 0xc000_0000))
    }

    private func listing() -> String { Namespace.shell("nft list table inet callout") }

    /// How often the rules of this namespace have been changed.
    private func generation() throws -> UInt32 {
      let socket = try NetlinkSocket.netfilter()
      try socket.send(NFTransaction.dumpRequest(NFT_MSG_GETGEN))
      let answer = try #require(try socket.receive(waiting: true)?.first)
      // A netfilter header of four bytes comes before the attributes.
      return try #require(
        NetlinkAttributes(answer.payload.dropFirst(4))?.big32(NFTA_GEN_ID.rawValue))
    }

    @Test func `this means is taken before all others`() throws {
      #expect(try RuleBackend.detect() == .nft)
    }

    @Test func `all rules come and go in one transaction each`() async throws {
      let before = try generation()
      try await firewall.apply(rules())
      #expect(try generation() == before + 1)
      try await firewall.apply(rules(bypass: false))
      #expect(try generation() == before + 2)
      try await firewall.empty()
      #expect(try generation() == before + 3)
      try await firewall.remove()
      #expect(try generation() == before + 4)
    }

    @Test(arguments: [31900...31900, 31900...31903] as [ClosedRange<UInt16>], [true, false])
    func `nft lists our rules as those of our text`(
      _ queues: ClosedRange<UInt16>, _ bypass: Bool
    ) async throws {
      let wanted = rules(bypass: bypass, queues: queues)
      let text = Firewall.render(wanted, backend: .nft)
      #expect(Namespace.shell("nft -f - <<'END'\n\(text)END").isEmpty)
      let loaded = listing()
      #expect(loaded.components("queue ") == 10)
      #expect(try await firewall.diff(wanted).isEmpty, "text is read back as what it says")
      try await firewall.remove()
      try await firewall.apply(wanted)
      #expect(listing() == loaded)
    }

    @Test func `frames of bridges: our text, our rules, and both tables in one transaction`()
      async throws
    {
      var wanted = rules()
      wanted.hooks = [.prerouting: .bridge, .forward: .bridge, .output: [.ipv4, .bridge]]
      let before = try generation()
      try await firewall.apply(wanted)
      #expect(try generation() == before + 1)
      let loaded = Namespace.shell("nft list ruleset")
      #expect(try await firewall.diff(wanted).isEmpty)
      #expect(loaded.components("queue ") == 4)
      // Less is wanted: the chains stay, empty.
      try await firewall.apply(rules())
      #expect(Namespace.shell("nft list table bridge callout").components("hook ") == 3)
      #expect(!Namespace.shell("nft list table bridge callout").contains("queue"))
      try await firewall.remove()
      #expect(Namespace.shell("nft list ruleset").isEmpty)
      let text = Firewall.render(wanted, backend: .nft)
      #expect(Namespace.shell("nft -f - <<'END'\n\(text)END").isEmpty)
      #expect(try await firewall.diff(wanted).isEmpty, "text is read back as what it says")
      #expect(try await firewall.installed()?.rules.count == 4)
      try await firewall.apply(wanted)
      #expect(Namespace.shell("nft list ruleset") == loaded)
      try await firewall.empty()
      #expect(try await firewall.installed()?.rules.isEmpty == true)
      // What others keep in it stays.
      Namespace.shell("nft add chain bridge callout mine")
      try await firewall.remove()
      #expect(Namespace.shell("nft list tables").split(separator: "\n") == ["table bridge callout"])
    }

    @Test func `text that is loaded over our rules replaces them and keeps the chains`()
      async throws
    {
      try await firewall.apply(rules())
      let before = Namespace.chains()
      let text = Firewall.render(rules(bypass: false), backend: .nft)
      #expect(Namespace.shell("nft -f - <<'END'\n\(text)END").isEmpty)
      #expect(Namespace.chains() == before)
      #expect(try await firewall.diff(rules(bypass: false)).isEmpty)
    }

    @Test func `rules of the compat layer are replaced, and no held packet is lost`() async throws {
      let holder = Holder(31900)
      let compat = try Firewall(backend: .nftCompat)
      let one = rules(queues: 31900...31900)
      try await compat.apply(one)
      #expect(try await firewall.installed()?.backend == .nftCompat)
      Datagrams().send(2)
      #expect(try holder.waiting == 2)
      let before = Namespace.chains()
      try await firewall.apply(one)
      #expect(try await firewall.installed()?.backend == .nft)
      #expect(listing().components("queue flags bypass to 31900") == 10)
      #expect(Namespace.chains() == before)
      Datagrams().send(1)
      #expect(try holder.waiting == 3)
      try await compat.apply(one)
      #expect(try await firewall.installed()?.backend == .nftCompat)
      #expect(try holder.waiting == 3)
    }

    @Test(.enabled(if: Namespace.isGuest, "unloads a module: run make guest-test"))
    func `the module of the compat layer is loaded where it is missing`() throws {
      #expect(Namespace.shell("modprobe -r xt_NFQUEUE; grep ^xt_NFQUEUE /proc/modules").isEmpty)
      try RuleBackend.nftCompat.check()
    }

    @Test func `another program's queue statements are found`() async throws {
      Namespace.shell(
        """
        nft 'add table inet others
        add chain inet others c
        add rule inet others c queue to 4242
        add rule inet others c meta mark 1 queue flags bypass,fanout to 17-19
        add rule inet others c queue flags bypass to numgen inc mod 4'
        """)
      let found = try await QueueScan.named()
      #expect(found.map(\.queues) == [4242...4242, 17...19, nil])
      #expect(found.map(\.bypass) == [false, true, true])
    }
  }
}
