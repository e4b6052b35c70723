// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import Testing

@testable import calloutd

struct PolicySchemaTests {
  @Test func `the printed schema is a policy that loads`() throws {
    let file = try PolicyFile.parse(PolicyFile.schemaText, path: "schema")
    #expect(file.callouts.count == CalloutType.all.count)
    #expect(file.filters.count == 1)
  }

  @Test func `the schema shows every key that the parser takes`() {
    let text = PolicyFile.schemaText
    let keys =
      PolicyFile.schema.keys.map(\.name) + FilterDraft.schema.keys.map(\.name)
      + ConditionDraft.schema.keys.map(\.name) + HeaderChange.schema.keys.map(\.name)
      + FrameChange.schema.keys.map(\.name) + SublayerSpec.schema.keys.map(\.name)
      + ProviderSpec.schema.keys.map(\.name) + ProviderContextSpec.schema.keys.map(\.name)
      + CalloutType.all.flatMap { $0.schema.keys.map(\.name) }
    for key in keys {
      #expect(text.contains("\(key):"), "\(key)")
    }
  }

  @Test func `the schema shows every name that a value can have`() {
    let text = PolicyFile.schemaText
    let names =
      Layer.packetLayers.map(\.name) + Field.allCases.map(\.name)
      + MatchName.allCases.map(\.rawValue) + ActionName.allCases.map(\.rawValue)
      + ConditionFlags.names.map(\.name) + NumberName.protocols.map(\.name)
      + NumberName.etherTypes.map(\.name) + L2Flags.names.map(\.name)
      + CalloutType.all.map(\.name)
    for name in names {
      #expect(text.contains(name), "\(name)")
    }
  }

  @Test func `the defaults that the schema shows are the defaults`() throws {
    var settings = PolicyFile.schemaText.split(separator: "\n", omittingEmptySubsequences: false)
    settings.removeAll { $0.hasPrefix("#") }
    let end = try #require(settings.firstIndex { $0.hasPrefix("sublayers:") })
    let shown = try PolicyFile.parse(settings[..<end].joined(separator: "\n"), path: "p")
    let empty = try PolicyFile.parse("{}", path: "p")
    #expect(shown.configuration == empty.configuration)
    #expect(shown.metricsListen == empty.metricsListen)
  }
}
