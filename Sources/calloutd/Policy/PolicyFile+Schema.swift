// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import PacketTagging
internal import Yams

extension PolicyFile {
  /// The whole policy file.
  static var schema: PolicySchema<PolicyFile> {
    PolicySchema([
      SchemaKey(
        "mark", markSchema, into: \.self, "which bits of the packet mark carry handles"),
      SchemaKey("queues", queueSchema, into: \.self, "the NFQUEUE queues"),
      SchemaKey("rules", ruleSchema, into: \.self, "the rules that send packets to the queues"),
      SchemaKey("lifecycle", lifecycleSchema, into: \.self, "who tells of the life of contexts"),
      SchemaKey(
        "interfaces", interfaces, into: \.interfaces, default: "[]",
        "the interfaces whose frames the MAC layers see"),
      SchemaKey("metrics", metricsSchema, into: \.self, "Prometheus metrics at /metrics"),
      SchemaKey(
        "providers", listOf: ProviderSpec.read, schema: [ProviderSpec.schema.lines],
        into: \.providers, "whom objects belong to"),
      SchemaKey(
        "provider-contexts", listOf: ProviderContextSpec.read,
        schema: [ProviderContextSpec.schema.lines], into: \.providerContexts,
        "settings for callouts, which filters name"),
      SchemaKey(
        "sublayers", listOf: SublayerSpec.read, schema: [SublayerSpec.schema.lines],
        into: \.sublayers,
        "bands of filters; \"default\" of weight 0x8000 always exists"),
      SchemaKey(
        "callouts", listOf: CalloutSpec.read, schema: CalloutType.all.map(\.lines),
        into: \.callouts, "what filters can ask; one example of each type"),
      SchemaKey(
        "filters", listOf: FilterSpec.read, schema: [FilterDraft.schema.lines],
        into: \.filters, "which packets, and what happens to them"),
    ])
  }

  private static var markSchema: PolicySchema<PolicyFile> {
    PolicySchema([
      SchemaKey(
        "mask", .markMask, into: \.configuration.mark, default: "auto",
        "the bits; auto takes the widest run that no rule uses"),
      SchemaKey(
        "ignore-conflicts", .boolean, into: \.configuration.ignoresMarkConflicts,
        default: "false", "use the mask although other rules use some of its bits"),
    ])
  }

  private static var queueSchema: PolicySchema<PolicyFile> {
    PolicySchema([
      SchemaKey(
        "first", .number(0...65535, of: "a queue number"), into: \.configuration.firstQueue,
        default: "31000", "the first queue's number"),
      SchemaKey(
        "count", .number(1...64), into: \.configuration.queueCount, default: "1",
        "how many queues, each with a thread"),
      SchemaKey(
        "copy-range",
        SchemaValue<UInt32>.number(128...65531, of: "a number of bytes").optional.or("auto", nil),
        into: \.configuration.copyRange, default: "auto",
        "bytes copied of each packet; auto: what callouts need"),
      SchemaKey(
        "max-length", .number(1...1_048_576), into: \.configuration.maximumLength,
        default: "8192", "packets that may wait in a queue"),
      SchemaKey(
        "on-failure", .failurePolicy, into: \.configuration.failurePolicy, default: "permit",
        "what happens to packets that nobody decides"),
      SchemaKey(
        "pend-deadline", .duration(), into: \.configuration.pendDeadline, default: "5s",
        "how long a callout may keep a packet"),
    ])
  }

  private static var ruleSchema: PolicySchema<PolicyFile> {
    PolicySchema([
      SchemaKey(
        "manage", .boolean, into: \.managesRules, default: "true",
        "whether calloutd installs and removes them"),
      SchemaKey("backend", .ruleBackend, into: \.ruleBackend, default: "auto", "by which means"),
      SchemaKey(
        "kernel-filters", .choice([("auto", .automatic), ("off", .off)]),
        into: \.configuration.kernelFilters, default: "auto",
        "who decides what no callout can want: auto (the kernel where it can) or off"),
      SchemaKey(
        "flow-bypass", .flowBypass, into: \.configuration.flowBypass, default: "auto",
        "bits of the conntrack mark by which the kernel passes released flows: auto, off or a mask"),
      SchemaKey(
        "table", .word("1 to 16 letters, digits and _, beginning with a letter", tableName),
        into: \.configuration.ruleTable, default: "callout",
        "the nft table, in capitals the prefix of iptables chains"),
    ])
  }

  private static func tableName(_ text: String) -> String? {
    guard (1...16).contains(text.utf8.count), let first = text.first, first.isLetter,
      text.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") })
    else { return nil }
    return text
  }

  private static var lifecycleSchema: PolicySchema<PolicyFile> {
    PolicySchema([
      SchemaKey(
        "source", .choice([("auto", .automatic), ("verdicts", .verdicts)]),
        into: \.configuration.lifecycle, default: "auto",
        "who tells what becomes of packets: auto (the kernel where it can) or verdicts"),
      SchemaKey(
        "sweep-after", .duration(), into: \.configuration.sweepAfter, default: "2s",
        "a context whose packet is not met again for so long is lost"),
    ])
  }

  private static var metricsSchema: PolicySchema<PolicyFile> {
    PolicySchema([
      SchemaKey(
        "listen", .listenAddress, into: \.metricsListen, default: "none", "where to serve them")
    ])
  }

  private static var interfaces: SchemaValue<[String]> {
    let name = "a list of interfaces such as [eth0]"
    return SchemaValue(name) { node, reader in
      guard case .sequence(let list) = node else {
        reader.problems.report(node, isNot: name)
        return nil
      }
      var names: [String] = []
      for entry in list {
        guard let text = entry.scalar?.string, isInterfaceName(text), !names.contains(text) else {
          reader.problems.report(
            entry, isNot: "an interface's name of at most 15 characters, each once")
          continue
        }
        names.append(text)
      }
      return names
    }
  }

  /// What the kernel takes for a device's name.
  private static func isInterfaceName(_ text: String) -> Bool {
    (1...15).contains(text.utf8.count) && text != "." && text != ".."
      && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
  }

  /// The printed schema: a policy that is right as it stands, with every key explained.
  static var schemaText: String {
    func wrap(_ names: [String], _ title: String) -> [String] {
      var lines = ["# \(title):"]
      var line = "#  "
      for name in names {
        if line.count + name.count > 96 {
          lines.append(line)
          line = "#  "
        }
        line += " \(name)"
      }
      return lines + [line]
    }
    let head =
      ["# Every key of a policy file with its type and default. All keys but the required ones"]
      + ["# may be left out. Durations are whole numbers with us, ms, s, m or h; numbers are"]
      + ["# decimal or begin with 0x and are never quoted. An unknown key is an error.", "#"]
      + wrap(Layer.packetLayers.map(\.name), "Layers")
      + wrap(Field.allCases.map { "\($0.name) (\($0.typeName))," }, "Fields and their values")
      + wrap(MatchName.allCases.map { "\($0.rawValue) (\($0.takes))," }, "Matches")
      + wrap(NumberName.protocols.map(\.name), "Names of ip-protocol values")
      + wrap(NumberName.etherTypes.map(\.name), "Names of ether-type values")
      + wrap(NumberName.addressTypes.map(\.name), "Names of mac-...-address-type values")
      + wrap(ConditionFlags.names.map(\.name), "Names of flags")
      + wrap(L2Flags.names.map(\.name), "Names of l2-flags")
      + wrap(ActionName.allCases.map(\.rawValue), "Actions") + [""]
    return (head + schema.lines).joined(separator: "\n") + "\n"
  }
}
