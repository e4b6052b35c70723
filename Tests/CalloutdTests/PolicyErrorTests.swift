// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import calloutd

/// One wrong policy: its text and the errors it must give, all of them, as LINE:COLUMN text.
struct WrongPolicy: Sendable, CustomTestStringConvertible {
  var name: String
  var text: String
  var errors: [String]
  var testDescription: String { name }

  static func filter(_ name: String, _ conditions: String, _ errors: [String]) -> WrongPolicy {
    WrongPolicy(
      name: name,
      text: "filters:\n- name: f\n  layer: outbound-transport-v4\n  action: permit\n"
        + "  conditions:\n  - \(conditions)\n",
      errors: errors)
  }

  static let settings: [WrongPolicy] = [
    WrongPolicy(
      name: "unknown top-level key", text: "queues: { first: 1 }\nquues: {}\n",
      errors: ["2:1: error: unknown key \"quues\", expected one of mark, queues, rules, lifecycle"]),
    WrongPolicy(
      name: "unknown nested key", text: "queues:\n  firts: 1\n",
      errors: ["2:3: error: unknown key \"firts\", expected one of first, count"]),
    WrongPolicy(
      name: "a list where a mapping belongs", text: "queues: [1]\n",
      errors: ["1:9: error: found a list, expected a mapping with the keys first"]),
    WrongPolicy(
      name: "a quoted number", text: "queues: { first: \"31000\" }\n",
      errors: [
        "1:18: error: found the quoted text \"31000\", expected a queue number from 0 to 65535"
      ]),
    WrongPolicy(
      name: "a number out of range", text: "queues: { first: 70000 }\n",
      errors: ["1:18: error: found \"70000\", expected a queue number from 0 to 65535"]),
    WrongPolicy(
      name: "a negative number", text: "queues: { count: -1 }\n",
      errors: ["1:18: error: found \"-1\", expected a number from 1 to 64"]),
    WrongPolicy(
      name: "a copy range that cuts headers", text: "queues: { copy-range: 0 }\n",
      errors: [
        "1:23: error: found \"0\", expected auto or a number of bytes from 128 to 65531"
      ]),
    WrongPolicy(
      name: "no value", text: "queues:\n  first:\n  count: 1\n",
      errors: ["2:9: error: found nothing, expected a queue number from 0 to 65535"]),
    WrongPolicy(
      name: "queues past the last number", text: "queues: { first: 65535, count: 2 }\n",
      errors: ["1:32: error: found 2 queues from 65535 on, expected the last to be at most 65535"]),
    WrongPolicy(
      name: "a mask with a hole", text: "mark: { mask: 0x0ff0ff00 }\n",
      errors: [
        "1:15: error: found \"0x0ff0ff00\", expected auto or off or a mask of 8 to 24 neighbouring"
      ]),
    WrongPolicy(
      name: "a duration without unit", text: "queues: { pend-deadline: 5 }\n",
      errors: ["1:26: error: found \"5\", expected a duration such as 200ms, 5s or 1m"]),
    WrongPolicy(
      name: "a duration of nothing", text: "lifecycle: { sweep-after: 0s }\n",
      errors: ["1:27: error: found \"0s\", expected a duration such as 200ms, 5s or 1m, above 0"]),
    WrongPolicy(
      name: "a wrong choice", text: "queues: { on-failure: allow }\n",
      errors: ["1:23: error: found \"allow\", expected permit or block"]),
    WrongPolicy(
      name: "a back end that is none", text: "rules: { backend: ebtables }\n",
      errors: ["1:19: error: found \"ebtables\", expected auto or nft or nft-compat or iptables"]),
    WrongPolicy(
      name: "an interface that is no list", text: "interfaces: eth0\n",
      errors: ["1:13: error: found \"eth0\", expected a list of interfaces such as [eth0]"]),
    WrongPolicy(
      name: "interfaces that cannot be",
      text: "interfaces: [ eth0, eth0, a/b, sixteen-letters-x ]\n",
      errors: [
        "1:21: error: found \"eth0\", expected an interface's name of at most 15 characters, each",
        "1:27: error: found \"a/b\", expected an interface's name of at most 15 characters, each",
        "1:32: error: found \"sixteen-letters-x\", expected an interface's name of at most 15",
      ]),
    WrongPolicy(
      name: "metrics without a port", text: "metrics: { listen: 127.0.0.1 }\n",
      errors: ["1:20: error: found \"127.0.0.1\", expected none or an address and a port"]),
    WrongPolicy(
      name: "a duplicate key", text: "queues:\n  first: 1\n  count: 2\n  first: 3\n",
      errors: [
        "4:3: error: duplicate key \"first\", expected it once; it is first given in line 2"
      ]),
    WrongPolicy(
      name: "duplicate keys do not hide other errors",
      text: "rules: {}\nqueues: { first: x }\nrules: {}\nfoo: 1\nrules: {}\n",
      errors: [
        "2:18: error: found \"x\", expected a queue number", "3:1: error: duplicate key \"rules\"",
        "4:1: error: unknown key \"foo\"", "5:1: error: duplicate key \"rules\"",
      ]),
    WrongPolicy(
      name: "not YAML", text: "queues: { first: 1\n",
      errors: ["2:1: error: not YAML: did not find expected ',' or '}'"]),
    WrongPolicy(
      name: "two documents", text: "queues: {}\n---\nqueues: {}\n",
      errors: ["2:1: error: not YAML: but found another document"]),
    WrongPolicy(
      name: "a word instead of a policy", text: "hello\n",
      errors: ["1:1: error: found \"hello\", expected a mapping with the keys mark"]),
    WrongPolicy(
      name: "objects of a provider that is not there",
      text: "providers:\n- { name: p }\nsublayers:\n- { name: a, provider: p }\n"
        + "- { name: b, provider: q }\nprovider-contexts:\n- { name: c, provider: r, data: 0x }\n",
      errors: [
        "5:24: error: sublayer \"b\": there is no provider \"q\"; add it to providers",
        "7:24: error: provider context \"c\": there is no provider \"r\"; add it to providers",
      ]),
    WrongPolicy(
      name: "keys that are none, and that are given twice",
      text: "providers:\n- { name: p, key: 1 }\n"
        + "- { name: q, key: 01234567-89ab-cdef-0123-456789abcdef }\n"
        + "- { name: r, key: 01234567-89AB-CDEF-0123-456789ABCDEF }\n",
      errors: [
        "2:19: error: found \"1\", expected a key such as 01234567-89ab-cdef",
        "4:11: error: found a second key of a provider \"01234567-89ab-cdef-0123-456789abcdef\"",
      ]),
    WrongPolicy(
      name: "data that is no bytes",
      text: "provider-contexts:\n- { name: c, data: 0x012 }\n- { name: d, data: 12 }\n",
      errors: [
        "2:20: error: found \"0x012\", expected bytes such as 0x0102ff",
        "3:20: error: found \"12\", expected bytes",
      ]),
    WrongPolicy(
      name: "what filters say of flags, providers and contexts",
      text: "filters:\n- name: f\n  layer: outbound-transport-v4\n  action: permit\n"
        + "  flags: [disabled, boot-time, soft]\n  provider: p\n"
        + "- name: g\n  layer: outbound-transport-v4\n  action: block\n  provider: p\n"
        + "  flags: [boot-time]\n  context: settings\n"
        + "- { name: h, layer: outbound-transport-v4, action: permit,\n"
        + "    flags: [permit-if-callout-unregistered] }\n",
      errors: [
        "5:32: error: found \"soft\", expected a flag: persistent, boot-time",
        "6:13: error: filter \"f\": there is no provider \"p\"",
        "10:13: error: filter \"g\": there is no provider \"p\"",
        "12:12: error: filter \"g\": there is no provider context \"settings\"; add it to",
        "14:12: error: filter \"h\" cannot be permit-if-callout-unregistered: only filters",
      ]),
    WrongPolicy(
      name: "tables that stand beside those of engines, and too many queues",
      text: "rules: { table: callout_boot }\nqueues: { count: 65 }\n",
      errors: [
        "1:17: error: table name \"callout_boot\": what ends with _boot or _flows stands beside",
        "2:18: error: found \"65\", expected a number from 1 to 64",
      ]),
    WrongPolicy(
      name: "what cannot be boot-time",
      text: "rules: { backend: iptables, table: abcdefghijkl }\n"
        + "callouts: [ { name: look, type: inspect } ]\nfilters:\n"
        + "- { name: a, layer: outbound-transport-v4, action: callout-inspection, callout: look,\n"
        + "    flags: [boot-time] }\n"
        + "- { name: b, layer: datagram-data-v4, action: block, flags: [boot-time] }\n"
        + "- name: c\n  layer: outbound-transport-v4\n  action: block\n"
        + "  flags: [boot-time, persistent]\n  conditions:\n"
        + "  - { field: user-id, match: equal, value: 0 }\n"
        + "  - { field: ip-protocol, match: equal, value: udp }\n"
        + "  - { field: flags, match: flags-none-set, value: [fragment] }\n",
      errors: [
        "1:19: error: found the back end iptables, expected auto or an nft one: boot-time filters",
        "1:36: error: table name \"abcdefghijkl\": at most 11 characters where filters are boot-time",
        "4:81: error: filter \"a\" cannot be boot-time: no callout runs before the engine",
        "6:21: error: filter \"b\" cannot be boot-time at datagram-data-v4: before the engine only",
        "10:10: error: filter \"c\" cannot be boot-time and persistent: boot-time filters end when",
        "12:14: error: filter \"c\" cannot be boot-time with such a condition on user-id: the kernel",
        "14:14: error: filter \"c\" cannot be boot-time with such a condition on flags: the kernel",
      ]),
    WrongPolicy(
      name: "duplicate keys in many entries hide nothing",
      text: "filters:\n"
        + (0..<400).map {
          "  - name: f\($0)\n    layer: outbound-transport-v4\n    action: block\n    action: permit\n"
        }.joined(),
      errors: (0..<400).map { "\(5 + 4 * $0):5: error: duplicate key \"action\", expected it once" }
    ),
    WrongPolicy(
      name: "two sublayers of one name",
      text: "sublayers:\n- { name: a }\n- { name: a, weight: 1 }\n",
      errors: [
        "3:11: error: found a second sublayer \"a\", expected names to be unique; the first is in "
          + "line 2"
      ]),
  ]

  static let callouts: [WrongPolicy] = [
    WrongPolicy(
      name: "a callout without type", text: "callouts:\n- { name: a }\n",
      errors: ["2:3: error: the key \"type\" is missing, expected one of tag, inspect, delay"]),
    WrongPolicy(
      name: "an unknown callout type", text: "callouts:\n- { name: a, type: tags }\n",
      errors: ["2:20: error: found \"tags\", expected a callout type: tag, inspect, delay"]),
    WrongPolicy(
      name: "a key of another type", text: "callouts:\n- { name: a, type: tag, log: 1/s }\n",
      errors: [
        "2:25: error: unknown key \"log\", expected one of name, type, context, on-copy, packets-per-flow"
      ]),
    WrongPolicy(
      name: "a delay without time", text: "callouts:\n- { name: a, type: delay }\n",
      errors: ["2:3: error: the key \"for\" is missing, expected a duration such as 200ms"]),
    WrongPolicy(
      name: "a rate without period", text: "callouts:\n- { name: a, type: inspect, log: 10 }\n",
      errors: ["2:34: error: found \"10\", expected none or a rate such as 10/s"]),
    WrongPolicy(
      name: "a rewrite of nothing", text: "callouts:\n- { name: a, type: rewrite, set: {} }\n",
      errors: ["2:34: error: found no value that could be written"]),
    WrongPolicy(
      name: "a code point above 63",
      text: "callouts:\n- { name: a, type: rewrite, set: { dscp: 64, ip-source-port: x } }\n",
      errors: [
        "2:42: error: found \"64\", expected a number from 0 to 63",
        "2:62: error: found \"x\", expected a port from 0 to 65535",
      ]),
    WrongPolicy(
      name: "two callouts of one name",
      text: "callouts:\n- { name: a, type: permit }\n- { name: a, type: block }\n",
      errors: ["3:11: error: found a second callout \"a\""]),
    WrongPolicy(
      name: "a rewrite to IPv4 at an IPv6 layer",
      text: "callouts:\n- { name: a, type: rewrite, set: { ip-source-address: 10.0.0.1 } }\n"
        + "filters:\n- { name: f, layer: outbound-transport-v6, action: callout-unknown, "
        + "callout: a }\n",
      errors: ["4:78: error: found a rewrite to 10.0.0.1 at outbound-transport-v6, expected"]),
  ]

  static let filters: [WrongPolicy] = [
    WrongPolicy(
      name: "an empty filter", text: "filters:\n- {}\n",
      errors: [
        "2:3: error: the key \"action\" is missing", "2:3: error: the key \"layer\" is missing",
        "2:3: error: the key \"name\" is missing",
      ]),
    WrongPolicy(
      name: "an unknown layer",
      text: "filters:\n- name: f\n  layer: outbound-v4\n  action: permit\n",
      errors: ["3:10: error: found \"outbound-v4\", expected a layer: inbound-ippacket-v4"]),
    WrongPolicy(
      name: "a layer without packets",
      text: "filters:\n- name: f\n  layer: stream-v4\n  action: permit\n",
      errors: ["3:10: error: filter \"f\": no packets are indicated at stream-v4"]),
    WrongPolicy(
      name: "unknown sublayer and callout",
      text: "filters:\n- name: f\n  layer: ipforward-v4\n  sublayer: x\n"
        + "  action: callout-unknown\n  callout: y\n",
      errors: [
        "4:13: error: filter \"f\": there is no sublayer \"x\"",
        "6:12: error: filter \"f\": there is no callout \"y\"",
      ]),
    WrongPolicy(
      name: "a callout action without callout",
      text: "filters:\n- name: f\n  layer: ipforward-v4\n  action: callout-unknown\n",
      errors: ["4:11: error: the key \"callout\" is missing, expected the name of the callout"]),
    WrongPolicy(
      name: "a callout without callout action",
      text: "filters:\n- name: f\n  layer: ipforward-v4\n  action: block\n  callout: y\n",
      errors: ["5:12: error: found callout \"y\", expected none: the action block asks nobody"]),
    WrongPolicy(
      name: "a band that is none",
      text: "filters:\n- name: f\n  layer: ipforward-v4\n  action: block\n"
        + "  weight: { range: 16 }\n",
      errors: ["5:20: error: found \"16\", expected a number from 0 to 15"]),
    .filter(
      "an unknown field", "{ field: port, match: equal, value: 1 }",
      ["6:14: error: found \"port\", expected a field: ip-protocol, ip-local-address"]),
    .filter(
      "an unknown match", "{ field: flags, match: same, value: 1 }",
      ["6:28: error: found \"same\", expected equal or range or prefix or masked or flags-all-set"]),
    .filter(
      "a port that is none", "{ field: ip-local-port, match: equal, value: 65536 }",
      ["6:50: error: found \"65536\", expected a number up to 65535"]),
    .filter(
      "an unknown protocol", "{ field: ip-protocol, match: equal, value: upd }",
      ["6:48: error: found \"upd\", expected a protocol's number up to 255 or its name"]),
    .filter(
      "an address of the other family",
      "{ field: ip-remote-address, match: equal, value: fe80::1 }",
      ["6:54: error: found \"fe80::1\", expected an IPv4 address, as the packets of outbound"]),
    .filter(
      "a prefix that is none", "{ field: ip-remote-address, match: prefix, value: 10.0.0.0/33 }",
      ["6:55: error: found \"10.0.0.0/33\", expected an address and a length"]),
    .filter(
      "a prefix of a port", "{ field: ip-remote-port, match: prefix, value: 10.0.0.0/8 }",
      ["6:52: error: found the match prefix, expected another: ip-remote-port is no address"]),
    .filter(
      "a range of one", "{ field: ip-remote-port, match: range, value: [53] }",
      ["6:51: error: found a list, expected a list of two: [first, last]"]),
    .filter(
      "a range turned round", "{ field: ip-remote-port, match: range, value: [2, 1] }",
      ["6:51: error: filter \"f\": ip-remote-port takes a range whose first value is not above"]),
    .filter(
      "an unknown flag", "{ field: flags, match: flags-all-set, value: [fragment, lo] }",
      ["6:61: error: found \"lo\", expected names of flags: loopback, reauthorize, fragment"]),
    .filter(
      "flags of an address", "{ field: ip-local-address, match: flags-all-set, value: 1 }",
      ["6:61: error: found a match of flags, expected equal, range or prefix"]),
    .filter(
      "a list of values that none may be",
      "{ field: ip-protocol, match: not-equal, value: [tcp, udp] }",
      ["6:52: error: found a list, expected one value: conditions on one field are or-ed"]),
    .filter(
      "a wrong value in a set", "{ field: ip-protocol, match: equal, value: [tcp, upd] }",
      ["6:54: error: found \"upd\", expected a protocol's number up to 255 or its name"]),
    .filter(
      "an empty set", "{ field: ip-protocol, match: equal, value: [] }",
      ["6:48: error: found a list, expected at least one value"]),
    .filter(
      "an order of flags", "{ field: flags, match: greater, value: fragment }",
      ["6:44: error: found \"fragment\", expected another match: flags have no order"]),
    .filter(
      "all but the prefix of a port", "{ field: ip-remote-port, match: not-prefix, value: 1/8 }",
      ["6:56: error: found the match not-prefix, expected another: ip-remote-port is no IP"]),
    WrongPolicy(
      name: "a field that the layer does not have",
      text: "filters:\n- name: f\n  layer: ipforward-v4\n  action: permit\n  conditions:\n"
        + "  - { field: ip-local-port, match: equal, value: 1 }\n"
        + "  - { field: user-id, match: equal, value: 0 }\n",
      errors: [
        "6:14: error: filter \"f\": packets at ipforward-v4 have no ip-local-port",
        "7:14: error: filter \"f\": packets at ipforward-v4 have no user-id",
      ]),
  ]
}

struct PolicyErrorTests {
  @Test(arguments: WrongPolicy.settings + WrongPolicy.callouts + WrongPolicy.filters)
  func `each error is told with its place, what was found and what was expected`(
    policy: WrongPolicy
  ) {
    do {
      _ = try PolicyFile.parse(policy.text, path: "p.yaml")
      Issue.record("no error")
    } catch {
      #expect(error.lines.count == policy.errors.count, "\(error)")
      for (line, expected) in zip(error.lines, policy.errors) {
        #expect(line.hasPrefix("p.yaml:\(expected)"), "\(line)")
      }
    }
  }

  @Test func `a file that is not there is an error of its own`() {
    #expect {
      try PolicyFile.read("/nonexistent/policy.yaml")
    } throws: {
      "\($0)".hasPrefix("/nonexistent/policy.yaml:1:1: error: the file is not there")
    }
  }

  @Test func `JSON errors have file, line, column and message`() throws {
    let problems = PolicyProblems(
      file: "p",
      problems: [PolicyProblem(position: SourcePosition(line: 2, column: 3), message: "m")])
    #expect(
      try CheckCommand.jsonLines(problems) == [#"{"column":3,"file":"p","line":2,"message":"m"}"#])
  }

  @Test func `random damage to a policy never traps`() throws {
    let text = Array(try Examples.text("full.yaml").unicodeScalars)
    var seed: UInt64 = 42
    func next(_ limit: Int) -> Int {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(seed >> 33) % limit
    }
    let spice = Array("{}[]:,-&*!|>'\"#%@`\n\t 0x\u{0}\u{e000}é~?".unicodeScalars)
    for _ in 0..<2000 {
      var damaged = text
      for _ in 0...next(4) {
        switch next(3) {
        case 0: damaged.remove(at: next(damaged.count))
        case 1: damaged.insert(spice[next(spice.count)], at: next(damaged.count))
        default: damaged.removeSubrange(next(damaged.count)...)
        }
        if damaged.isEmpty { break }
      }
      _ = try? PolicyFile.parse(String(String.UnicodeScalarView(damaged)), path: "p")
    }
  }
}
