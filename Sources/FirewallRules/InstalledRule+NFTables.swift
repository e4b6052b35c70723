// SPDX-License-Identifier: Apache-2.0

import CNFTables

extension InstalledRule {
  /// Reads a rule that ``PlannedRule/steps(_:)`` made; nil if it is anything else.
  init?(_ rule: NFRule, hook: RuleHook, priority: Int32) {
    var reader = ExpressionReader(rule.expressions)
    var family = Families.bridge
    if rule.family != TableKind.bridge.rawValue {
      guard reader.takesMeta(NFT_META_NFPROTO.rawValue),
        let found = reader.comparison(NFT_CMP_EQ.rawValue)?.byte(at: 0).flatMap({ Families($0) })
      else { return nil }
      family = found
    }
    var passMark: MarkMatch?
    if reader.takesMeta(NFT_META_MARK.rawValue) {
      guard let mask = reader.take("bitwise")?.data(NFTA_BITWISE_MASK.rawValue)?.native32(at: 0),
        let value = reader.comparison(NFT_CMP_NEQ.rawValue)?.native32(at: 0)
      else { return nil }
      passMark = MarkMatch(value: value, mask: mask)
    }
    guard let counter = reader.take("counter"), let naming = reader.next()?.queue,
      let queues = naming.queues, reader.isAtEnd
    else { return nil }
    self.init(
      hook: hook, priority: priority, family: family, queues: queues, bypass: naming.bypass,
      passMark: passMark,
      packets: counter.attributes.big64(NFTA_COUNTER_PACKETS.rawValue) ?? 0,
      bytes: counter.attributes.big64(NFTA_COUNTER_BYTES.rawValue) ?? 0)
  }
}

extension InstalledRule {
  /// Reads the rule of a chain that ``KernelLayout/queueChain(_:_:)`` has named.
  init?(selected rule: NFRule, priority: Int32) {
    guard let (hook, family) = KernelLayout.parse(queueChain: rule.chain) else { return nil }
    var reader = ExpressionReader(rule.expressions)
    guard let counter = reader.take("counter"), let naming = reader.next()?.queue,
      let queues = naming.queues, reader.isAtEnd
    else { return nil }
    self.init(
      hook: hook, priority: priority, family: family, queues: queues, bypass: naming.bypass,
      passMark: nil,
      packets: counter.attributes.big64(NFTA_COUNTER_PACKETS.rawValue) ?? 0,
      bytes: counter.attributes.big64(NFTA_COUNTER_BYTES.rawValue) ?? 0)
    isSelective = true
  }
}

extension NFRule {
  /// It sends a family's packets to a program of ours, and does nothing else.
  var entersProgram: Bool {
    var reader = ExpressionReader(expressions)
    guard reader.takesMeta(NFT_META_NFPROTO.rawValue),
      reader.comparison(NFT_CMP_EQ.rawValue) != nil,
      let goal = reader.take("immediate")?.jump(NFTA_IMMEDIATE_DATA.rawValue), reader.isAtEnd
    else { return false }
    return goal.hasPrefix(KernelProgram.prefix)
  }
}

/// Takes the expressions of a rule one after the other.
private struct ExpressionReader {
  private var rest: ArraySlice<NFExpression>

  init(_ expressions: [NFExpression]) { rest = expressions[...] }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func next() -> NFExpression? { rest.popFirst() }

  /// The next expression if it has this name.
  mutating func take(_ name: String) -> NFExpression? {
    rest.first?.name == name ? rest.popFirst() : nil
  }

  /// Takes the next expression if it loads this meta key.
  mutating func takesMeta(_ key: UInt32) -> Bool {
    guard let first = rest.first, first.name == "meta",
      first.number(NFTA_META_KEY.rawValue) == key,
      first.number(NFTA_META_DREG.rawValue) != nil
    else { return false }
    rest.removeFirst()
    return true
  }

  /// What the next expression compares with, if it is this comparison.
  mutating func comparison(_ operation: UInt32) -> ArraySlice<UInt8>? {
    guard let first = take("cmp"), first.number(NFTA_CMP_OP.rawValue) == operation else {
      return nil
    }
    return first.data(NFTA_CMP_DATA.rawValue)
  }
}

extension Families {
  /// The family of a protocol number of netfilter, where it is one of ours.
  fileprivate init?(_ protocolNumber: UInt8) {
    switch Int(protocolNumber) {
    case Int(NFPROTO_IPV4): self = .ipv4
    case Int(NFPROTO_IPV6): self = .ipv6
    default: return nil
    }
  }
}
