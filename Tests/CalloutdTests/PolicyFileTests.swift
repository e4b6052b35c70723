// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import FirewallRules
import Foundation
import PacketTagging
import PacketViews
import Testing

@testable import calloutd

/// The policies that the repository holds.
enum Examples {
  static var folder: URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Sources")
  }
  static var all: [String] {
    let names = try? FileManager.default.contentsOfDirectory(
      atPath: folder.appendingPathComponent("Examples/Policies").path)
    return (names ?? []).sorted().map { "Examples/Policies/\($0)" } + [
      "calloutd/Install/policy.yaml"
    ]
  }
  static func text(_ name: String) throws -> String {
    try String(
      contentsOf: folder.appendingPathComponent("Examples/Policies/\(name)"), encoding: .utf8)
  }
}

struct PolicyFileTests {
  @Test(arguments: Examples.all)
  func `every example loads and compiles`(name: String) throws {
    let file = try PolicyFile.read(Examples.folder.appendingPathComponent(name).path)
    let roster = CalloutRoster().following(file.callouts, tags: Tags(), sink: { _ in })
    _ = try CompiledPolicy(roster.policy(of: file))
    #expect(!file.filters.isEmpty)
  }

  @Test func `there is an example of every callout type`() throws {
    var seen: Set<String> = []
    for name in Examples.all {
      let file = try PolicyFile.read(Examples.folder.appendingPathComponent(name).path)
      seen.formUnion(file.callouts.map(\.type))
    }
    #expect(seen == Set(CalloutType.all.map(\.name)))
  }

  @Test func `the policy of the architecture is read as it stands`() throws {
    let file = try PolicyFile.parse(try Examples.text("full.yaml"), path: "p")
    #expect(file.configuration.mark == .automatic)
    #expect(file.configuration.queues == 31000...31001)
    #expect(file.configuration.copyRange == nil)
    #expect(file.configuration.maximumLength == 8192)
    #expect(file.configuration.failurePolicy == .permit)
    #expect(file.configuration.pendDeadline == .seconds(5))
    #expect(file.configuration.rules == .managed(nil))
    #expect(file.configuration.sweepAfter == .seconds(2))
    #expect(file.metricsListen == nil)
    #expect(file.sublayers.map(\.sublayer) == [Sublayer(name: "default", weight: 0x8000)])
    var change = HeaderChange()
    change.destinationAddress = IPAddress(10, 0, 0, 7)
    change.remotePort = 8053
    change.timeToLive = 64
    change.dscp = 46
    #expect(
      file.callouts.map(\.kind) == [
        .tag(context: .flowHash, onCopy: .share),
        .inspect(InspectCallout.Configuration(log: EventRate(10, per: .seconds(1)))),
        .delay(DelayCallout.Configuration(for: .milliseconds(200))),
        .rewrite(RewriteCallout.Configuration(change)),
      ])
    let prefix = try #require(IPPrefix("10.0.0.0/8"))
    #expect(
      file.filters.map(\.filter) == [
        Filter(
          name: "outbound DNS", layer: .outboundTransportV4, weight: .explicit(10),
          conditions: [
            Condition(.ipProtocol, .equal(17)), Condition(.ipRemotePort, .range(53, 5353)),
            Condition(.ipRemoteAddress, .prefix(prefix)),
            Condition(.flags, .flagsNoneSet(ConditionFlags.fragment.rawValue)),
          ], action: .calloutUnknown("dns-tags"))
      ])
  }

  @Test(arguments: ["", "\n", "# nothing\n", "---\n"])
  func `an empty file is an error, because it may have been cut off`(text: String) throws {
    let problems = #expect(throws: PolicyProblems.self) {
      try PolicyFile.parse(text, path: "p")
    }
    #expect(problems?.lines.count == 1)
    #expect(problems?.description.contains("the file is empty") == true)
  }

  @Test func `an empty mapping is a policy of defaults`() throws {
    let file = try PolicyFile.parse("{}\n", path: "p")
    var expected = BridgeConfiguration()
    expected.rules = .managed(nil)
    #expect(file.configuration == expected)
    #expect(file.filters.isEmpty)
  }

  @Test func `all settings are taken over`() throws {
    let file = try PolicyFile.parse(
      """
      mark: { mask: 0x0fff0000, ignore-conflicts: true }
      queues: { first: 0x10, count: 3, copy-range: 256, max-length: 5, on-failure: block }
      rules: { manage: false, backend: nft-compat, table: mine }
      lifecycle: { source: verdicts, sweep-after: 500ms }
      metrics:
        listen: 127.0.0.1:9469
      """, path: "p")
    #expect(file.configuration.mark == .mask(0x0fff_0000))
    #expect(file.configuration.ignoresMarkConflicts)
    #expect(file.configuration.queues == 16...18)
    #expect(file.configuration.copyRange == 256)
    #expect(file.configuration.maximumLength == 5)
    #expect(file.configuration.failurePolicy == .block)
    #expect(file.configuration.rules == .unmanaged)
    #expect(file.configuration.ruleTable == "mine")
    #expect(file.ruleBackend == .nftCompat)
    #expect(file.configuration.lifecycle == .verdicts)
    #expect(file.configuration.sweepAfter == .milliseconds(500))
    #expect(file.metricsListen == ListenAddress("127.0.0.1:9469"))
  }

  @Test func `objects have keys, providers, flags and contexts`() throws {
    let key = "01234567-89ab-cdef-0123-456789abcdef"
    let file = try PolicyFile.parse(
      """
      providers:
        - { name: p, key: \(key), purpose: tests }
      provider-contexts:
        - { name: c, key: \(key), provider: p, data: 0x00ffA0 }
      sublayers:
        - { name: s, key: \(key), weight: 7, provider: p }
      callouts:
        - { name: look, type: inspect }
      filters:
        - name: f
          key: \(key)
          layer: inbound-transport-v4
          sublayer: s
          provider: p
          flags: [persistent, disabled, clear-action-right, permit-if-callout-unregistered]
          action: callout-unknown
          callout: look
          context: 0xffffffffffffffff
        - { name: g, layer: inbound-transport-v4, action: callout-inspection, callout: look,
            context: c }
      """, path: "p")
    let known = try #require(ObjectKey(key))
    #expect(file.providers.map(\.provider) == [Provider(name: "p", key: known, purpose: "tests")])
    #expect(
      file.providerContexts.map(\.context) == [
        ProviderContext(name: "c", key: known, provider: "p", data: [0, 0xff, 0xa0])
      ])
    #expect(
      file.sublayers.map(\.sublayer) == [Sublayer(name: "s", key: known, weight: 7, provider: "p")])
    let filters = file.filters.map(\.filter)
    #expect(filters.map(\.key) == [known, nil] && filters.map(\.provider) == ["p", nil])
    #expect(filters.map(\.context) == [.raw(.max), .provider("c")])
    #expect(
      filters.map(\.flags) == [
        FilterFlags(FilterFlags.names.map(\.flag)).subtracting(.bootTime), [],
      ])
    let roster = CalloutRoster().following(file.callouts, tags: Tags(), sink: { _ in })
    let policy = try CompiledPolicy(roster.policy(of: file)).policy
    #expect(policy.providers.count == 1 && policy.providerContexts.map(\.name) == ["c"])
  }

  @Test func `anchors and aliases stand for what they name`() throws {
    let file = try PolicyFile.parse(
      """
      filters:
      - name: a
        layer: inbound-transport-v4
        action: block
        conditions: &same
        - { field: ip-protocol, match: equal, value: tcp }
      - { name: b, layer: inbound-transport-v6, action: block, conditions: *same }
      """, path: "p")
    #expect(file.filters.count == 2)
    #expect(file.filters[0].filter.conditions == file.filters[1].filter.conditions)
  }

  @Test func `weights are numbers, automatic or bands`() throws {
    let file = try PolicyFile.parse(
      """
      filters:
      - { name: a, layer: ipforward-v4, action: block, weight: 0xffffffffffffffff }
      - { name: b, layer: ipforward-v4, action: block, weight: auto }
      - { name: c, layer: ipforward-v4, action: block, weight: { range: 15 } }
      """, path: "p")
    #expect(file.filters.map(\.filter.weight) == [.explicit(.max), .automatic, .range(15)])
  }

  @Test func `rules cover the layers of the filters and no others`() async throws {
    let file = try PolicyFile.parse(
      """
      queues: { first: 5, count: 2, on-failure: block }
      filters:
      - { name: a, layer: outbound-transport-v4, action: permit }
      - { name: b, layer: outbound-transport-v6, action: permit }
      - { name: c, layer: inbound-ippacket-v6, action: permit }
      """, path: "p")
    let rules = try await file.ruleSet()
    #expect(rules.hooks == [.output: .both, .prerouting: .ipv6])
    #expect(rules.queues == 5...6)
    #expect(!rules.bypass)
  }

  @Test func `a condition is shown as people read it`() throws {
    let file = try PolicyFile.parse(try Examples.text("full.yaml"), path: "p")
    #expect(
      file.filters[0].filter.conditions.map(\.policyText) == [
        "ip-protocol udp", "ip-remote-port 53-5353", "ip-remote-address 10.0.0.0/8",
        "flags none of [fragment]",
      ])
  }
}

/// Makes tags as a bridge would.
final class Tags: TagSource {
  private let issuer = TagIssuer()
  func makeTag(named name: String, onCopy: CopyDisposition) -> ContextTag {
    issuer.makeTag(onCopy: onCopy) ?? ContextTag(rawValue: 0)
  }
}

struct CalloutRosterTests {
  private func specs(_ text: String) throws -> [CalloutSpec] {
    try PolicyFile.parse(text, path: "p").callouts
  }

  @Test func `a callout that has not changed keeps its tag and counters over a reload`() throws {
    let tags = Tags()
    let old = CalloutRoster().following(
      try specs("callouts:\n- { name: a, type: tag }\n- { name: b, type: tag, context: 1 }\n"),
      tags: tags, sink: { _ in })
    let new = old.following(
      try specs(
        "callouts:\n- { name: c, type: block }\n- { name: b, type: tag, context: 2 }\n"
          + "- { name: a, type: tag, context: flow-hash }\n"),
      tags: tags, sink: { _ in })
    #expect(new.entries["a"]?.tag == old.entries["a"]?.tag)
    #expect(new.entries["a"]?.board === old.entries["a"]?.board)
    #expect(
      new.entries["a"]?.registration.revision == old.entries["a"]?.registration.revision)
    #expect(new.entries["b"]?.tag != old.entries["b"]?.tag)
    #expect(
      new.entries["b"]?.registration.revision != old.entries["b"]?.registration.revision)
    #expect(Set(new.entries.keys) == ["a", "b", "c"])
  }

  @Test func `what only a restart changes is told`() throws {
    let running = try PolicyFile.parse("queues: { count: 2 }\n", path: "p")
    let same = try PolicyFile.parse("queues: { count: 2 }\nfilters: []\n", path: "p")
    let other = try PolicyFile.parse(
      "queues: { count: 3 }\nmetrics: { listen: 127.0.0.1:1 }\n", path: "p")
    #expect(same.restartNotes(running: running).isEmpty)
    #expect(
      other.restartNotes(running: running) == [
        "queues changed; restart calloutd to put it in force",
        "metrics changed; restart calloutd to put it in force",
      ])
  }

  @Test func `interfaces reach the bridge, and a reload changes them`() throws {
    let running = try PolicyFile.parse(
      "interfaces: [ eth0 ]\nqueues: { count: 2 }\n", path: "p")
    #expect(running.configuration.interfaces == ["eth0"])
    var other = try PolicyFile.parse("interfaces: [ eth1 ]\n", path: "p")
    #expect(!other.restartNotes(running: running).contains { $0.contains("interfaces") })
    other.keepSetup(of: running)
    #expect(other.configuration.interfaces == ["eth1"])
    #expect(other.configuration.queueCount == 2)
  }
}
