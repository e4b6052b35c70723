// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Testing

@testable import CalloutEngine

@Suite struct ProviderTests {
  static func filter(_ name: String, by provider: String?) -> Filter {
    Filter(name: name, layer: .inboundMACFrameEthernet, action: .permit, provider: provider)
  }

  static let providers = [Provider(name: "a"), Provider(name: "b")]
  static let policy = FilterPolicy(
    providers: providers, sublayers: [Sublayer(name: "s", weight: 1, provider: "b")],
    callouts: [CalloutRegistration(name: "c", provider: "b") { Callout() }],
    filters: [filter("mine", by: "a"), filter("theirs", by: "b"), filter("nobody's", by: nil)])

  @Test func `nobody removes another provider's filters`() throws {
    let left = try Self.policy.removingFilters(named: "mine", by: "a")
    #expect(left.filters.map(\.name) == ["theirs", "nobody's"])
    let expected = PolicyError.foreignObject(kind: "filter", name: "theirs", provider: "b")
    for provider in ["a", nil] {
      #expect(throws: expected) {
        try Self.policy.removingFilters(named: "theirs", by: provider)
      }
    }
    _ = try Self.policy.removingFilters(named: "theirs", by: "b")
    _ = try Self.policy.removingFilters(named: "nobody's", by: "a")
  }

  @Test func `nobody changes another provider's filters, sublayers or callouts`() throws {
    try Self.policy.checkSuccession(of: Self.policy, by: "a")
    var filters = Self.policy
    filters.filters[1].action = .block
    var sublayers = Self.policy
    sublayers.sublayers[0].weight = 2
    var callouts = Self.policy
    callouts.callouts[0].revision = "2"
    for (changed, kind) in [(filters, "filter"), (sublayers, "sublayer"), (callouts, "callout")] {
      let error = #expect(throws: PolicyError.self) {
        try changed.checkSuccession(of: Self.policy, by: "a")
      }
      guard case .foreignObject(kind, _, "b")? = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
      try changed.checkSuccession(of: Self.policy, by: "b")
    }
  }

  @Test func `an object of a provider that is not there is refused`() throws {
    _ = try CompiledPolicy(Self.policy)
    var policy = Self.policy
    policy.providers = [Provider(name: "a")]
    #expect(
      throws: PolicyError.unknownProvider(kind: "filter", name: "theirs", provider: "b")
    ) { _ = try CompiledPolicy(policy) }
    policy.providers = Self.providers + [Provider(name: "a")]
    #expect(throws: PolicyError.duplicate(kind: "providers", name: "a")) {
      _ = try CompiledPolicy(policy)
    }
  }
}
