// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FirewallRules

extension KernelTests {
  @Suite(.serialized) struct KernelProgramTests {
    private let here: ClosedRange<UInt128> = 0x7f00_0001...0x7f00_0001

    init() {
      Namespace.clean()
    }

    /// The best that nft has here, and iptables with ipset.
    private static let backends = [try? RuleBackend.detect(), .iptables].compactMap(\.self)

    private func element(
      _ ranges: [ClosedRange<UInt128>], _ verdict: KernelVerdict, _ filter: Int
    ) -> KernelElement {
      KernelElement(ranges: ranges, verdict: verdict, filter: filter, name: "filter \(filter)")
    }

    private func ports(_ elements: [(ClosedRange<UInt128>, KernelVerdict, Int)]) -> KernelMap {
      KernelMap(
        fields: [.transportProtocol, .destinationPort],
        elements: elements.map { element([17...17, $0.0], $0.1, $0.2) })
    }

    private func rules(
      selection: [KernelMap] = [], _ sublayers: [[KernelMap]], markMask: UInt32 = 0
    ) -> RuleSet {
      var program = KernelProgram(
        hook: .output, family: .ipv4, selection: selection, sublayers: sublayers)
      program.markMask = markMask
      return RuleSet(
        queues: 31900...31900, hooks: [.output: .both], bypass: false, programs: [program])
    }

    private func hits(_ firewall: Firewall, _ rules: RuleSet) async throws -> [Int: UInt64] {
      try #require(try await firewall.installed()).hits(of: rules.programs)
    }

    private func queued(_ firewall: Firewall) async throws -> UInt64 {
      let rules = try #require(try await firewall.installed()).rules
      return rules.first { $0.family == .ipv4 }?.packets ?? 0
    }

    /// Sends to ports and says which of them were let through.
    private func through(_ ports: [Int], mark: Int = 0) -> [Int] {
      let wish = mark == 0 ? "" : "s.setsockopt(socket.SOL_SOCKET, 36, \(mark)); "
      let text = Namespace.shell(
        """
        python3 -c 'import socket
        for port in \(ports):
          r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(("127.0.0.1", port))
          r.settimeout(0.2)
          s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \(wish)
          try: s.sendto(b"x", ("127.0.0.1", port))
          except PermissionError: continue
          try: r.recv(9); print(port)
          except TimeoutError: pass
        '
        """)
      return text.split(separator: "\n").compactMap { Int($0) }
    }

    @Test(arguments: backends)
    func `blocked, permitted and selected packets go their ways and are counted`(
      backend: RuleBackend
    ) async throws {
      let firewall = try Firewall(backend: backend)
      let rules = rules(
        selection: [ports([(5353...5353, .permit, -1)])],
        [
          [ports([(1000...1999, .permit, 0), (2000...2000, .block, 1)])],
          [
            KernelMap(
              fields: [.destinationAddress, .transportProtocol, .destinationPort],
              elements: [element([here, 17...17, 1500...1500], .block, 2)])
          ],
        ])
      try await firewall.apply(rules)
      #expect(through([1400, 1500, 2000, 3000, 5353]) == [1400, 3000])
      #expect(try await hits(firewall, rules) == [0: 2, 1: 1, 2: 1])
      #expect(try await queued(firewall) == 1)
      #expect(try await firewall.diff(rules).isEmpty)
      let text = Namespace.shell("nft list table inet callout")
      #expect(text.contains("filter 2") == (backend != .iptables), "\(text)")
      #expect(Namespace.shell("ipset list").contains("filter 2") == (backend == .iptables))
    }

    @Test(arguments: backends)
    func `a hard permit skips the sublayers below it, a soft one does not`(backend: RuleBackend)
      async throws
    {
      let firewall = try Firewall(backend: backend)
      let block = [ports([(1000...1999, .block, 3)])]
      let rules = rules([
        [
          ports([
            (1100...1100, .permit, 0), (1200...1200, .permitForGood, 1), (1300...1300, .block, 2),
          ])
        ],
        block,
      ])
      try await firewall.apply(rules)
      #expect(through([1100, 1200, 1300, 1400, 2100]) == [1200, 2100])
      #expect(try await hits(firewall, rules) == [0: 1, 1: 1, 2: 1, 3: 2])
    }

    @Test(arguments: backends)
    func `packets of the mark's field are queued whatever they are`(backend: RuleBackend)
      async throws
    {
      let firewall = try Firewall(backend: backend)
      let rules = rules([[ports([(1000...1999, .permit, 0)])]], markMask: 0xff00)
      try await firewall.apply(rules)
      // A killed run leaves them, and the next start must not take them for somebody else's.
      #expect(try await MarkScan.scan().isEmpty)
      #expect(try await QueueScan.named().isEmpty)
      #expect(through([1100], mark: 0x1_0000) == [1100])
      #expect(through([1100, 2100], mark: 0x100) == [])
      #expect(try await queued(firewall) == 2)
    }

    @Test(arguments: backends.filter { !Namespace.isGuest || $0 != .iptables })
    func `every field can be looked up, and nft lists what there is`(backend: RuleBackend)
      async throws
    {
      let firewall = try Firewall(backend: backend)
      for family in [Families.ipv4, .ipv6] {
        for field in KernelField.allCases {
          for isRange in [false, true] {
            let map = KernelMap(
              fields: [field], elements: [element([1...(isRange ? 2 : 1)], .block, 0)])
            let rules = RuleSet(
              queues: 31900...31900, hooks: [.output: .both], bypass: true,
              programs: [
                KernelProgram(hook: .output, family: family, selection: [map], sublayers: [[map]])
              ])
            try await firewall.apply(rules)
            #expect(try await firewall.diff(rules).isEmpty, "\(family) \(field)")
            guard backend != .iptables else { continue }
            let text = Namespace.shell("nft list ruleset; echo $?")
            #expect(text.hasSuffix("}\n0\n"), "\(family) \(field): \(text)")
          }
        }
      }
    }

    @Test func `a change of what is installed shows, and removal leaves nothing`() async throws {
      let firewall = try Firewall(backend: RuleBackend.detect())
      let rules = rules([[ports([(1000...1999, .permit, 0), (2000...2000, .block, 1)])]])
      try await firewall.apply(rules)
      Namespace.shell("nft flush map inet callout kf_output_ipv4_0_0")
      #expect(try await firewall.diff(rules) == ["+ map kf_output_ipv4_0_0: 2 elements"])
      Namespace.shell("nft flush chain inet callout kf_output_ipv4")
      #expect(try await firewall.diff(rules).contains("- chain kf_output_ipv4 of 0 rules"))
      try await firewall.apply(rules)
      #expect(try await firewall.diff(rules).isEmpty)
      let plain = RuleSet(queues: 31900...31900, hooks: [.output: .both], bypass: true)
      #expect(try await !firewall.diff(plain).isEmpty)
      let chains = Namespace.chains().filter { !$0.contains("kf_") }
      try await firewall.apply(plain)
      #expect(Namespace.chains() == chains)
      #expect(try await firewall.diff(plain).isEmpty)
      try await firewall.apply(rules)
      try await firewall.empty()
      #expect(through([2000]) == [2000])
      try await firewall.remove()
      #expect(Namespace.shell("nft list ruleset").isEmpty)
    }

    @Test func `the printed text loads, also over itself, and gives the same maps`() async throws {
      let rules = rules(
        selection: [ports([(5353...5353, .permit, -1)])],
        [
          [
            ports([(1000...1999, .permitForGood, 0), (2000...2000, .block, 1), (3...3, .permit, 4)])
          ],
          [KernelMap(fields: [.sourceAddress], elements: [element([here], .block, 2)])],
        ], markMask: 0xff00)
      let firewall = try Firewall(backend: RuleBackend.detect())
      // This kernel may lack the statement that is printed; all else is loaded as it stands.
      let text = Firewall.render(rules, backend: .nft).replacing(
        "counter queue to 31900", with: "counter")
      #expect(text.contains("goto kf_output_ipv4"))
      for _ in 0..<2 {
        #expect(Namespace.shell("nft -f - <<'END'\n\(text)\nEND").isEmpty)
      }
      let differences = try await firewall.diff(rules)
      #expect(differences.allSatisfy { $0.contains("queue 31900") }, "\(differences)")
    }

    // An emulated machine takes minutes for so many entries of ipset.
    @Test(arguments: backends.filter { !Namespace.isGuest || $0 != .iptables })
    func `twenty thousand elements are installed and replaced`(backend: RuleBackend) async throws {
      let firewall = try Firewall(backend: backend)
      let many = (0..<20_000).map { element([17...17, UInt128($0)...UInt128($0)], .block, $0) }
      let exact = KernelMap(fields: [.transportProtocol, .destinationPort], elements: many)
      let boxes = (0..<2_000).map { number in
        let first = UInt128(0x0a00_0000 + number * 256)
        return element([first...(first + 99), 6...6, 80...84], .permit, 20_000 + number)
      }
      let ranges = KernelMap(
        fields: [.destinationAddress, .transportProtocol, .destinationPort], elements: boxes)
      let rules = rules([[exact, ranges]])
      try await firewall.apply(rules)
      #expect(through([1100, 1_101, 20_001]) == [20_001])
      #expect(try await hits(firewall, rules).filter { $0.value > 0 } == [1_100: 1, 1_101: 1])
      try await firewall.apply(rules)
      #expect(try await firewall.diff(rules).isEmpty)
    }
  }
}
