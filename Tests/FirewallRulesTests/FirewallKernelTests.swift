// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FirewallRules

extension KernelTests {
  @Suite(.serialized) struct FirewallKernelTests {
    private let backend: RuleBackend
    private let firewall: Firewall

    init() throws {
      Namespace.clean()
      backend = try RuleBackend.detect()
      firewall = try Firewall(backend: backend)
    }

    private func rules(
      _ hooks: [RuleHook: Families] = [.output: .both], queues: ClosedRange<UInt16> = 31900...31900,
      bypass: Bool = true, priority: Int32 = -150, passMark: MarkMatch? = nil
    ) -> RuleSet {
      RuleSet(
        queues: queues, hooks: hooks, bypass: bypass, priority: priority, passMark: passMark)
    }

    @Test func `the best means of this kernel is detected and nothing is left behind`() throws {
      #expect(backend == (Namespace.hasQueueStatement ? .nft : .nftCompat))
      #expect(Namespace.shell("nft list ruleset").isEmpty)
      try backend.check()
      if backend == .nftCompat {
        #expect(throws: RuleError.self) { try RuleBackend.nft.check() }
      }
    }

    @Test func `applying twice keeps the chains and replaces the rules`() async throws {
      try await firewall.apply(rules([.input: .both, .output: .both]))
      let before = Namespace.chains()
      #expect(before.count == 2)
      let second = rules([.output: .ipv4], queues: 31900...31903, bypass: false)
      #expect(try await firewall.diff(second).count == 5)
      try await firewall.apply(second)
      #expect(Namespace.chains() == before)
      #expect(try await firewall.diff(second).isEmpty)
      let installed = try #require(try await firewall.installed())
      #expect(installed.backend == backend)
      #expect(installed.hooks == [.input, .output])
      #expect(installed.rules.map(\.planned) == second.planned)
      #expect(installed.unrecognized.isEmpty)
    }

    @Test func `a held packet survives every operation but a forced removal`() async throws {
      let holder = Holder(31900)
      let datagrams = Datagrams()
      try await firewall.apply(rules())
      datagrams.send(3)
      #expect(try holder.waiting == 3)
      _ = try RuleBackend.detect()
      #expect(try holder.waiting == 3, "after a probe")
      try await firewall.apply(rules([.input: .both, .forward: .both]))
      #expect(try holder.waiting == 3, "after other hooks")
      try await firewall.apply(rules([:]))
      #expect(try holder.waiting == 3, "after no hooks")
      try await firewall.apply(rules(priority: -149))
      #expect(try holder.waiting == 3, "after another priority")
      try await firewall.empty()
      #expect(try holder.waiting == 3, "after emptying")
      let error = await #expect(throws: RuleError.self) { try await firewall.remove() }
      guard case .queuesHoldPackets(let queues)? = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(queues.map(\.number) == [31900])
      #expect(try holder.waiting == 3, "after a refused removal")
      #expect(Namespace.chains().count == 4)
      try await firewall.remove(force: true)
      #expect(try holder.waiting == 0, "a forced removal flushes")
      #expect(try await firewall.installed() == nil)
    }

    @Test func `rules that the kernel refuses cost no held packet`() async throws {
      guard backend == .nftCompat else { return }
      let holder = Holder(31900)
      try await firewall.apply(rules())
      Datagrams().send(2)
      let native = try Firewall(backend: .nft)
      await #expect(throws: RuleError.self) {
        try await native.apply(rules([.input: .both, .postrouting: .both]))
      }
      #expect(try holder.waiting == 2)
      #expect(Namespace.chains().count == 1)
    }

    @Test func `a removal goes through when no queue holds packets`() async throws {
      let holder = Holder(31900)
      try await firewall.apply(rules())
      try await firewall.remove()
      #expect(Namespace.shell("nft list ruleset").isEmpty)
      #expect(try holder.waiting == 0)
    }

    @Test func `emptying and removing nothing is no error`() async throws {
      try await firewall.empty()
      try await firewall.remove()
      #expect(try await firewall.installed() == nil)
      #expect(try await firewall.counters().isEmpty)
    }

    @Test func `each hook and family is counted`() async throws {
      try await firewall.apply(rules([.output: .both, .input: .both, .forward: .both]))
      let (four, six) = (Datagrams(), Datagrams(ipv6: true))
      four.send(5)
      six.send(7)
      #expect(four.received() == 5)
      #expect(six.received() == 7)
      let counters = try await firewall.counters()
      for hook in [RuleHook.output, .input] {
        #expect(
          counters[hook] == [
            RuleCounter(family: .ipv4, packets: 5, bytes: 5 * 29),
            RuleCounter(family: .ipv6, packets: 7, bytes: 7 * 49),
          ])
      }
      #expect(counters[.forward]?.map(\.packets) == [0, 0])
      #expect(counters[.prerouting] == nil)
    }

    @Test func `without a listener bypass lets pass and block drops`() async throws {
      let (four, six) = (Datagrams(), Datagrams(ipv6: true))
      try await firewall.apply(rules(bypass: false))
      four.send(2)
      six.send(2)
      #expect(four.received() == 0)
      #expect(six.received() == 0)
      try await firewall.apply(rules(bypass: true))
      four.send(2)
      six.send(2)
      #expect(four.received() == 2)
      #expect(six.received() == 2)
    }

    @Test func `packets with the pass mark skip the queue`() async throws {
      let pass = MarkMatch(value: 0x8000_0000, mask: 0xc000_0000)
      try await firewall.apply(rules(bypass: false, passMark: pass))
      let datagrams = Datagrams()
      datagrams.send(4, mark: 0x8000_0001)
      #expect(datagrams.received() == 4)
      datagrams.send(2, mark: 0xc000_0001)
      datagrams.send(2)
      #expect(datagrams.received() == 0)
      #expect(try await firewall.counters()[.output]?.first?.packets == 4)
      #expect(try await firewall.installed()?.rules.first?.passMark == pass)
    }

    @Test func `a range of queues spreads flows and never leaves it`() async throws {
      let holders = (31910...31913).map { Holder($0) }
      try await firewall.apply(rules(queues: 31910...31913))
      // A flow hash of addresses: vary them.
      Namespace.shell(
        "for i in $(seq 1 40); do echo x > /dev/udp/127.0.0.$i/9; done".inBash)
      let waiting = try holders.map { try $0.waiting ?? 0 }
      #expect(waiting.reduce(0, +) >= 40)
      #expect(waiting.filter { $0 > 0 }.count > 1)
    }

    @Test func `the leftovers of a killed run are replaced`() async throws {
      try await firewall.apply(rules([.output: .both, .input: .both], queues: 31905...31905))
      let before = Namespace.chains()
      try await firewall.apply(rules())
      #expect(Namespace.chains() == before)
      #expect(try await firewall.installed()?.rules.map(\.planned) == rules().planned)
    }

    @Test func `what others have put into our table stays`() async throws {
      Namespace.shell(
        """
        nft 'add table inet callout
        add set inet callout addresses { type ipv4_addr; elements = { 192.0.2.1 }; }
        add chain inet callout output { type filter hook output priority -150; }
        add chain inet callout helper
        add rule inet callout output udp dport 1 drop
        add rule inet callout output meta mark set 0x8
        add rule inet callout helper accept'
        """)
      let before = Namespace.shell("nft -s list ruleset")
      try await firewall.apply(rules([.input: .both, .output: .both]))
      #expect(try await firewall.installed()?.unrecognized.count == 3)
      #expect(try await firewall.diff(rules([.input: .both, .output: .both])).isEmpty)
      #expect(try await MarkScan.scan().map(\.mask) == [.max], "their marks are still seen")
      try await firewall.apply(rules())
      try await firewall.empty()
      try await firewall.remove()
      #expect(Namespace.shell("nft -s list ruleset") == before)
    }

    @Test func `a table that holds a set of others is not deleted with our chains`() async throws {
      try await firewall.apply(rules())
      Namespace.shell("nft 'add set inet callout addresses { type ipv4_addr; }'")
      try await firewall.remove()
      #expect(Namespace.chains().isEmpty)
      #expect(Namespace.shell("nft list table inet callout").contains("set addresses"))
    }

    @Test func `rules of a live program in our table are not replaced`() async throws {
      let holder = Holder(31905)
      try await firewall.apply(rules(queues: 31905...31905))
      let error = await #expect(throws: RuleError.self) { try await firewall.apply(rules()) }
      guard case .tableInUse("callout", let queues)? = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(queues.map(\.number) == [31905])
      #expect(try await firewall.installed()?.rules.first?.queues == 31905...31905)
      #expect(try holder.waiting == 0)
    }

    @Test func `a leftover chain of another shape is a typed error`() async throws {
      Namespace.shell(
        "nft 'add table inet callout; "
          + "add chain inet callout output { type filter hook output priority 5; }'")
      let error = await #expect(throws: RuleError.self) { try await firewall.apply(rules()) }
      #expect(
        error
          == .leftoverChain(
            table: "callout", chain: "output", found: "type filter, hook 3, priority 5"))
    }
  }
}

extension String {
  fileprivate var inBash: String { "bash -c '\(self)'" }
}
