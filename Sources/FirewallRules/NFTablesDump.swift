// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Glibc

/// A chain of nf_tables, of whatever family.
struct NFChain: Equatable {
  var family: UInt8
  var table: String
  var name: String
  var handle: UInt64
  /// The number is the family's own: in netdev tables 0 is ingress.
  var hook: UInt32?
  var priority: Int32?
  var type: String?
}

/// One expression of a rule; the walkers know what its attributes mean.
struct NFExpression {
  var name: String
  var attributes: NetlinkAttributes
}

/// A rule of nf_tables, of whatever family.
struct NFRule {
  var family: UInt8
  var table: String
  var chain: String
  var handle: UInt64
  var expressions: [NFExpression]
}

/// All chains and rules of this network namespace's nf_tables, as one look found them.
struct NFTablesDump {
  var chains: [NFChain] = []
  var rules: [NFRule] = []

  /// Reads chains and rules of all families; empty on a kernel without nf_tables.
  static func read() throws(RuleError) -> NFTablesDump {
    var dump = NFTablesDump()
    for message in try list(NFT_MSG_GETCHAIN, what: "list nft chains") {
      dump.chains.append(try NFChain(message.payload))
    }
    for message in try list(NFT_MSG_GETRULE, what: "list nft rules") {
      dump.rules.append(try NFRule(message.payload))
    }
    return dump
  }

  /// How many chains, sets, maps, objects and flow tables one of our tables holds; nil without it.
  ///
  /// Corresponds to `NFTA_TABLE_USE`.
  static func uses(
    ofTable table: String, _ kind: TableKind
  ) throws(RuleError) -> UInt32? {
    for message in try list(NFT_MSG_GETTABLE, what: "list nft tables") {
      guard let family = message.payload.byte(at: 0),
        let attributes = NetlinkAttributes(message.payload.dropFirst(4)),
        let name = attributes.string(NFTA_TABLE_NAME.rawValue),
        let uses = attributes.big32(NFTA_TABLE_USE.rawValue)
      else { throw .malformedAnswer(from: "nf_tables", detail: "a table") }
      if family == kind.rawValue, name == table { return uses }
    }
    return nil
  }

  /// The names of the sets and maps that programs have in our table.
  static func maps(of table: String, _ kind: TableKind) throws(RuleError) -> [String] {
    try list(NFT_MSG_GETSET, what: "list nft sets").compactMap { message in
      guard message.payload.byte(at: 0) == kind.rawValue,
        let attributes = NetlinkAttributes(message.payload.dropFirst(4)),
        attributes.string(NFTA_SET_TABLE.rawValue) == table,
        let name = attributes.string(NFTA_SET_NAME.rawValue),
        name.hasPrefix(KernelProgram.prefix)
      else { return nil }
      return name
    }
  }

  /// Everything of one type; nothing on a kernel without nf_tables.
  private static func list(
    _ type: nf_tables_msg_types, what: String
  ) throws(RuleError) -> [NetlinkMessage] {
    do throws(RuleError) {
      return try NetlinkSocket.netfilter().dump(NFTransaction.dumpRequest(type), what: what)
    } catch {
      if case .refused(_, let errno, _) = error, [EINVAL, EOPNOTSUPP].contains(errno) { return [] }
      throw error
    }
  }

  /// The chain that a rule stands in.
  func chain(of rule: NFRule) -> NFChain? {
    chains.first {
      $0.family == rule.family && $0.table == rule.table && $0.name == rule.chain
    }
  }
}

extension NFChain {
  /// Reads the payload of `NFT_MSG_NEWCHAIN`.
  init(_ payload: ArraySlice<UInt8>) throws(RuleError) {
    guard let family = payload.byte(at: 0),
      let attributes = NetlinkAttributes(payload.dropFirst(4)),
      let table = attributes.string(NFTA_CHAIN_TABLE.rawValue),
      let name = attributes.string(NFTA_CHAIN_NAME.rawValue)
    else { throw .malformedAnswer(from: "nf_tables", detail: "a chain") }
    self.family = family
    self.table = table
    self.name = name
    handle = attributes.big64(NFTA_CHAIN_HANDLE.rawValue) ?? 0
    type = attributes.string(NFTA_CHAIN_TYPE.rawValue)
    if let hook = attributes.nested(NFTA_CHAIN_HOOK.rawValue) {
      self.hook = hook.big32(NFTA_HOOK_HOOKNUM.rawValue)
      priority = hook.big32(NFTA_HOOK_PRIORITY.rawValue).map(Int32.init(bitPattern:))
    }
  }
}

extension NFRule {
  /// Reads the payload of `NFT_MSG_NEWRULE`.
  init(_ payload: ArraySlice<UInt8>) throws(RuleError) {
    guard let family = payload.byte(at: 0),
      let attributes = NetlinkAttributes(payload.dropFirst(4)),
      let table = attributes.string(NFTA_RULE_TABLE.rawValue),
      let chain = attributes.string(NFTA_RULE_CHAIN.rawValue)
    else { throw .malformedAnswer(from: "nf_tables", detail: "a rule") }
    self.family = family
    self.table = table
    self.chain = chain
    handle = attributes.big64(NFTA_RULE_HANDLE.rawValue) ?? 0
    expressions = []
    for element in attributes.nested(NFTA_RULE_EXPRESSIONS.rawValue)?.list ?? [] {
      guard let expression = NFExpression(element.payload) else {
        throw .malformedAnswer(
          from: "nf_tables", detail: "an expression of \(table) \(chain) handle \(handle)")
      }
      expressions.append(expression)
    }
  }

  /// `inet mine output handle 7`, by which an operator finds the rule.
  var place: String { "\(familyName) \(table) \(chain) handle \(handle)" }

  /// nft's word for the family.
  var familyName: String {
    switch Int(family) {
    case 1: "inet"
    case 2: "ip"
    case 3: "arp"
    case 5: "netdev"
    case 7: "bridge"
    case 10: "ip6"
    default: "family \(family)"
    }
  }

  /// Who made the rule: the tables of iptables' nft front end bear fixed names.
  var origin: RuleOrigin {
    let itsTables: Set = ["filter", "mangle", "nat", "raw", "security"]
    let itsChains: Set = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]
    let compatible = expressions.contains { $0.name == "match" || $0.name == "target" }
    return [2, 10, 7].contains(family) && itsTables.contains(table)
      && (compatible || itsChains.contains(chain)) ? .iptables : .nft
  }
}

extension NFExpression {
  init?(_ element: ArraySlice<UInt8>) {
    guard let parts = NetlinkAttributes(element),
      let name = parts.string(NFTA_EXPR_NAME.rawValue)
    else { return nil }
    self.name = name
    guard let data = parts[NFTA_EXPR_DATA.rawValue] else {
      attributes = NetlinkAttributes()
      return
    }
    guard let attributes = NetlinkAttributes(data) else { return nil }
    self.attributes = attributes
  }

  /// A number in network order.
  func number(_ type: UInt32) -> UInt32? { attributes.big32(type) }

  /// The register data or mask in a `NFTA_DATA_VALUE`.
  func data(_ type: UInt32) -> ArraySlice<UInt8>? {
    attributes.nested(type)?[NFTA_DATA_VALUE.rawValue]
  }

  /// The chain that a verdict jumps or goes to.
  func jump(_ type: UInt32) -> String? {
    attributes.nested(type)?.nested(NFTA_DATA_VERDICT.rawValue)?
      .string(NFTA_VERDICT_CHAIN.rawValue)
  }

  /// The xtables match or target that the expression wraps: name, revision and payload.
  var extended: (name: String, revision: UInt32, info: ArraySlice<UInt8>)? {
    let isTarget = name == "target"
    guard isTarget || name == "match",
      let extensionName = attributes.string(
        isTarget ? NFTA_TARGET_NAME.rawValue : NFTA_MATCH_NAME.rawValue)
    else { return nil }
    let revision = number(isTarget ? NFTA_TARGET_REV.rawValue : NFTA_MATCH_REV.rawValue) ?? 0
    let info = attributes[isTarget ? NFTA_TARGET_INFO.rawValue : NFTA_MATCH_INFO.rawValue] ?? []
    return (extensionName, revision, info)
  }

  /// The queues that the expression hands packets to; nil if it is no queue expression.
  var queue: QueueNaming? {
    if name == "queue" {
      if attributes[NFTA_QUEUE_SREG_QNUM.rawValue] != nil {
        return QueueNaming(queues: nil, bypass: queueFlags & 1 != 0)
      }
      guard let first = attributes.big16(NFTA_QUEUE_NUM.rawValue) else { return nil }
      let total = attributes.big16(NFTA_QUEUE_TOTAL.rawValue) ?? 1
      return QueueNaming(first: first, total: total, bypass: queueFlags & 1 != 0)
    }
    guard name == "target", let (name, revision, info) = extended, name == "NFQUEUE",
      let first = info.native16(at: 0)
    else { return nil }
    let total = revision >= 1 ? info.native16(at: 2) ?? 1 : 1
    let flags = revision >= 2 ? info.native16(at: 4) ?? 0 : 0
    return QueueNaming(first: first, total: total, bypass: flags & 1 != 0)
  }

  private var queueFlags: UInt16 { attributes.big16(NFTA_QUEUE_FLAGS.rawValue) ?? 0 }
}

extension NetlinkAttributes {
  /// No attributes.
  init() { list = [] }
}

/// What a rule says of the queues it hands packets to.
struct QueueNaming: Equatable {
  /// Nil if the number is computed for each packet.
  var queues: ClosedRange<UInt16>?
  var bypass: Bool

  init(queues: ClosedRange<UInt16>?, bypass: Bool) {
    self.queues = queues
    self.bypass = bypass
  }

  init(first: UInt16, total: UInt16, bypass: Bool) {
    let (last, overflow) = first.addingReportingOverflow(max(total, 1) - 1)
    self.init(queues: first...(overflow ? .max : last), bypass: bypass)
  }
}
