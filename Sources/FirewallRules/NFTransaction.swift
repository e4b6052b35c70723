// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Glibc

/// One all-or-nothing batch of changes to nf_tables, built with libnftnl.
///
/// All use of libnftnl is in the files of this type. Its builders write without a bound, so every message gets a
/// buffer far larger than what our bounded names and few expressions can fill.
struct NFTransaction {
  /// The messages, without the batch's beginning and end.
  private var body: [UInt8] = []
  /// What each message does, for errors; message `n` has sequence number `n + 1`.
  private(set) var operations: [String] = []

  /// One thing a rule does, in order.
  enum Step: Equatable {
    case matchFamily(Families)
    case unlessMark(MarkMatch)
    case counter
    case queue(ClosedRange<UInt16>, bypass: Bool)
    case queueTarget(ClosedRange<UInt16>, bypass: Bool)
    case ifMarked(UInt32)
    case ifFragment
    case ifReleased(MarkMatch, Families)
    case verdict(Verdict)
    case lookUp([KernelField], Families, String, isVerdictMap: Bool)
  }

  /// What is added or deleted next is in tables of this kind.
  var kind: TableKind { didSet { family = UInt16(kind.rawValue) } }
  private var family: UInt16
  static let messageRoom = 8192

  /// An empty batch.
  init(_ kind: TableKind = .inet) {
    self.kind = kind
    family = UInt16(kind.rawValue)
  }

  /// An empty batch for tables of a family in which we have none.
  init(foreignFamily family: UInt8) {
    kind = .inet
    self.family = UInt16(family)
  }

  // MARK: Changes

  /// Adds a table, or keeps the one there is.
  mutating func addTable(_ table: String) {
    unsafe append(NFT_MSG_NEWTABLE, flags: NLM_F_CREATE, "add table \(table)") { header in
      guard let object = unsafe nftnl_table_alloc() else { return }
      defer { unsafe nftnl_table_free(object) }
      unsafe nftnl_table_set_str(object, UInt16(NFTNL_TABLE_NAME.rawValue), table.bounded)
      unsafe nftnl_table_nlmsg_build_payload(header, object)
    }
  }

  /// Deletes a table with all in it; base chains in it are unhooked.
  mutating func deleteTable(_ table: String) {
    unsafe append(NFT_MSG_DELTABLE, flags: 0, "delete table \(table)") { header in
      guard let object = unsafe nftnl_table_alloc() else { return }
      defer { unsafe nftnl_table_free(object) }
      unsafe nftnl_table_set_str(object, UInt16(NFTNL_TABLE_NAME.rawValue), table.bounded)
      unsafe nftnl_table_nlmsg_build_payload(header, object)
    }
  }

  /// Adds a chain, or keeps the one there is.
  ///
  /// Without a hook it is a regular chain.
  mutating func addChain(
    _ chain: String, in table: String, hook: (hook: RuleHook, priority: Int32)? = nil
  ) {
    unsafe append(NFT_MSG_NEWCHAIN, flags: NLM_F_CREATE, "add chain \(table) \(chain)") { header in
      guard let object = unsafe nftnl_chain_alloc() else { return }
      defer { unsafe nftnl_chain_free(object) }
      unsafe nftnl_chain_set_str(object, UInt16(NFTNL_CHAIN_TABLE.rawValue), table.bounded)
      unsafe nftnl_chain_set_str(object, UInt16(NFTNL_CHAIN_NAME.rawValue), chain.bounded)
      if let hook {
        unsafe nftnl_chain_set_str(object, UInt16(NFTNL_CHAIN_TYPE.rawValue), "filter")
        unsafe nftnl_chain_set_u32(
          object, UInt16(NFTNL_CHAIN_HOOKNUM.rawValue), UInt32(hook.hook.rawValue))
        unsafe nftnl_chain_set_s32(object, UInt16(NFTNL_CHAIN_PRIO.rawValue), hook.priority)
        unsafe nftnl_chain_set_u32(
          object, UInt16(NFTNL_CHAIN_POLICY.rawValue), UInt32(NF_ACCEPT))
      }
      unsafe nftnl_chain_nlmsg_build_payload(header, object)
    }
  }

  /// Deletes a chain.
  mutating func deleteChain(_ chain: String, in table: String) {
    unsafe append(NFT_MSG_DELCHAIN, flags: 0, "delete chain \(table) \(chain)") { header in
      guard let object = unsafe nftnl_chain_alloc() else { return }
      defer { unsafe nftnl_chain_free(object) }
      unsafe nftnl_chain_set_str(object, UInt16(NFTNL_CHAIN_TABLE.rawValue), table.bounded)
      unsafe nftnl_chain_set_str(object, UInt16(NFTNL_CHAIN_NAME.rawValue), chain.bounded)
      unsafe nftnl_chain_nlmsg_build_payload(header, object)
    }
  }

  /// Deletes one rule, found by its handle.
  mutating func deleteRule(_ rule: NFRule) {
    unsafe append(NFT_MSG_DELRULE, flags: 0, "delete rule \(rule.place)") { header in
      guard let object = unsafe nftnl_rule_alloc() else { return }
      defer { unsafe nftnl_rule_free(object) }
      unsafe nftnl_rule_set_str(object, UInt16(NFTNL_RULE_TABLE.rawValue), rule.table.bounded)
      unsafe nftnl_rule_set_str(object, UInt16(NFTNL_RULE_CHAIN.rawValue), rule.chain.bounded)
      unsafe nftnl_rule_set_u64(object, UInt16(NFTNL_RULE_HANDLE.rawValue), rule.handle)
      unsafe nftnl_rule_nlmsg_build_payload(header, object)
    }
  }

  /// Deletes all rules of a chain.
  mutating func flushChain(_ chain: String, in table: String) {
    unsafe append(NFT_MSG_DELRULE, flags: 0, "flush chain \(table) \(chain)") { header in
      guard let object = unsafe nftnl_rule_alloc() else { return }
      defer { unsafe nftnl_rule_free(object) }
      unsafe nftnl_rule_set_str(object, UInt16(NFTNL_RULE_TABLE.rawValue), table.bounded)
      unsafe nftnl_rule_set_str(object, UInt16(NFTNL_RULE_CHAIN.rawValue), chain.bounded)
      unsafe nftnl_rule_nlmsg_build_payload(header, object)
    }
  }

  /// Appends a rule to a chain.
  mutating func addRule(_ steps: [Step], to chain: String, in table: String) {
    unsafe append(
      NFT_MSG_NEWRULE, flags: NLM_F_CREATE | NLM_F_APPEND, "add rule \(table) \(chain)"
    ) { header in
      guard let object = unsafe nftnl_rule_alloc() else { return }
      defer { unsafe nftnl_rule_free(object) }
      unsafe nftnl_rule_set_str(object, UInt16(NFTNL_RULE_TABLE.rawValue), table.bounded)
      unsafe nftnl_rule_set_str(object, UInt16(NFTNL_RULE_CHAIN.rawValue), chain.bounded)
      for step in steps {
        // The rule owns its expressions from here on.
        unsafe Self.expressions(step).forEach { unsafe nftnl_rule_add_expr(object, $0) }
      }
      unsafe nftnl_rule_nlmsg_build_payload(header, object)
    }
  }

  // MARK: Expressions

  private static func expressions(_ step: Step) -> [OpaquePointer] {
    switch step {
    case .matchFamily(let family):
      let number = family == .ipv6 ? NFPROTO_IPV6 : NFPROTO_IPV4
      return unsafe [
        load(NFT_META_NFPROTO), compare(NFT_CMP_EQ, [UInt8(truncatingIfNeeded: number)]),
      ].compactMap { unsafe $0 }
    case .unlessMark(let match):
      return unsafe [
        load(NFT_META_MARK), keep(bytes(match.mask)), compare(NFT_CMP_NEQ, bytes(match.value)),
      ].compactMap { unsafe $0 }
    case .counter:
      guard let counter = unsafe nftnl_expr_alloc("counter") else { return unsafe [] }
      return unsafe [counter]
    case .queue(let queues, let bypass):
      guard let queue = unsafe nftnl_expr_alloc("queue") else { return unsafe [] }
      let flags: UInt16 = bypass ? UInt16(NFT_QUEUE_FLAG_BYPASS) : 0
      unsafe nftnl_expr_set_u16(queue, UInt16(NFTNL_EXPR_QUEUE_NUM), queues.lowerBound)
      unsafe nftnl_expr_set_u16(
        queue, UInt16(NFTNL_EXPR_QUEUE_TOTAL), UInt16(clamping: queues.count))
      unsafe nftnl_expr_set_u16(queue, UInt16(NFTNL_EXPR_QUEUE_FLAGS), flags)
      return unsafe [queue]
    case .queueTarget(let queues, let bypass):
      return unsafe [target(queues, bypass: bypass)].compactMap { unsafe $0 }
    case .ifMarked(let mask):
      return unsafe [load(NFT_META_MARK), keep(bytes(mask)), compare(NFT_CMP_NEQ, bytes(0))]
        .compactMap { unsafe $0 }
    case .ifFragment:
      // Any offset, or more to come.
      return unsafe [
        payload(NFT_PAYLOAD_NETWORK_HEADER, 6, 2, to: NFT_REG_1.rawValue), keep([0x3f, 0xff]),
        compare(NFT_CMP_NEQ, [0, 0]),
      ].compactMap { unsafe $0 }
    case .ifReleased(let mark, let family):
      return unsafe [
        connection(NFT_CT_MARK), keep(bytes(mark.mask)), compare(NFT_CMP_EQ, bytes(mark.value)),
        connection(NFT_CT_STATUS), keep(bytes(translated)), compare(NFT_CMP_EQ, bytes(0)),
        load(NFT_META_L4PROTO), compare(NFT_CMP_NEQ, [family.icmp]),
      ].compactMap { unsafe $0 }
    case .verdict(let verdict):
      return unsafe [immediate(verdict)].compactMap { unsafe $0 }
    case .lookUp(let fields, let family, let map, let isVerdictMap):
      return unsafe lookUp(fields, family, map, isVerdictMap: isVerdictMap)
        .compactMap { unsafe $0 }
    }
  }

  static func load(_ key: nft_meta_keys, to register: UInt32 = NFT_REG_1.rawValue)
    -> OpaquePointer?
  {
    guard let meta = unsafe nftnl_expr_alloc("meta") else { return nil }
    unsafe nftnl_expr_set_u32(meta, UInt16(NFTNL_EXPR_META_KEY), key.rawValue)
    unsafe nftnl_expr_set_u32(meta, UInt16(NFTNL_EXPR_META_DREG), register)
    return unsafe meta
  }

  /// `IPS_SRC_NAT` and `IPS_DST_NAT`.
  private static let translated: UInt32 = 0x30

  private static func connection(_ key: nft_ct_keys) -> OpaquePointer? {
    guard let connection = unsafe nftnl_expr_alloc("ct") else { return nil }
    unsafe nftnl_expr_set_u32(connection, UInt16(NFTNL_EXPR_CT_KEY), key.rawValue)
    unsafe nftnl_expr_set_u32(connection, UInt16(NFTNL_EXPR_CT_DREG), NFT_REG_1.rawValue)
    return unsafe connection
  }

  /// Turns four bytes in host order into network order, by which ranges are compared.
  static func networkOrder(_ register: UInt32) -> OpaquePointer? {
    guard let order = unsafe nftnl_expr_alloc("byteorder") else { return nil }
    unsafe nftnl_expr_set_u32(order, UInt16(NFTNL_EXPR_BYTEORDER_SREG), register)
    unsafe nftnl_expr_set_u32(order, UInt16(NFTNL_EXPR_BYTEORDER_DREG), register)
    unsafe nftnl_expr_set_u32(
      order, UInt16(NFTNL_EXPR_BYTEORDER_OP), NFT_BYTEORDER_HTON.rawValue)
    unsafe nftnl_expr_set_u32(order, UInt16(NFTNL_EXPR_BYTEORDER_LEN), 4)
    unsafe nftnl_expr_set_u32(order, UInt16(NFTNL_EXPR_BYTEORDER_SIZE), 4)
    return unsafe order
  }

  private static func compare(_ operation: nft_cmp_ops, _ data: [UInt8]) -> OpaquePointer? {
    guard let comparison = unsafe nftnl_expr_alloc("cmp") else { return nil }
    unsafe nftnl_expr_set_u32(comparison, UInt16(NFTNL_EXPR_CMP_SREG), NFT_REG_1.rawValue)
    unsafe nftnl_expr_set_u32(comparison, UInt16(NFTNL_EXPR_CMP_OP), operation.rawValue)
    unsafe nftnl_expr_set(comparison, UInt16(NFTNL_EXPR_CMP_DATA), data, UInt32(data.count))
    return unsafe comparison
  }

  private static func keep(_ mask: [UInt8]) -> OpaquePointer? {
    guard let bitwise = unsafe nftnl_expr_alloc("bitwise") else { return nil }
    let none = [UInt8](repeating: 0, count: mask.count)
    let length = UInt32(mask.count)
    unsafe nftnl_expr_set_u32(bitwise, UInt16(NFTNL_EXPR_BITWISE_SREG), NFT_REG_1.rawValue)
    unsafe nftnl_expr_set_u32(bitwise, UInt16(NFTNL_EXPR_BITWISE_DREG), NFT_REG_1.rawValue)
    unsafe nftnl_expr_set_u32(bitwise, UInt16(NFTNL_EXPR_BITWISE_LEN), length)
    unsafe nftnl_expr_set(bitwise, UInt16(NFTNL_EXPR_BITWISE_MASK), mask, length)
    unsafe nftnl_expr_set(bitwise, UInt16(NFTNL_EXPR_BITWISE_XOR), none, length)
    return unsafe bitwise
  }

  private static func target(_ queues: ClosedRange<UInt16>, bypass: Bool) -> OpaquePointer? {
    let size = Int(CNF_QUEUE_TARGET_SIZE)
    // libnftnl frees the payload with the expression, so it must come from malloc.
    guard let target = unsafe nftnl_expr_alloc("target"), let info = unsafe malloc(size) else {
      return nil
    }
    unsafe cnf_queue_target_info(
      info.assumingMemoryBound(to: UInt8.self), queues.lowerBound,
      UInt16(clamping: queues.count), bypass)
    unsafe nftnl_expr_set_str(target, UInt16(NFTNL_EXPR_TG_NAME), "NFQUEUE")
    unsafe nftnl_expr_set_u32(
      target, UInt16(NFTNL_EXPR_TG_REV), UInt32(CNF_QUEUE_TARGET_REVISION))
    unsafe nftnl_expr_set(target, UInt16(NFTNL_EXPR_TG_INFO), info, UInt32(size))
    return unsafe target
  }

  /// The four bytes of `value` as they lie in a packet's mark.
  private static func bytes(_ value: UInt32) -> [UInt8] {
    unsafe withUnsafeBytes(of: value) { unsafe Array($0) }
  }

  // MARK: Messages

  mutating func append(
    _ type: nf_tables_msg_types, flags: Int32, _ what: String, room: Int = messageRoom,
    build: (UnsafeMutablePointer<nlmsghdr>) -> Void
  ) {
    operations.append(what)
    let sequence = UInt32(operations.count)
    let family = family
    body += unsafe Self.message(room) { start in
      let header = unsafe nftnl_nlmsg_build_hdr(
        start, UInt16(type.rawValue), family, UInt16(flags | NLM_F_ACK), sequence)
      if let header = unsafe header { unsafe build(header) }
    }
  }

  /// Runs a builder over a zeroed buffer and returns the message it has left there.
  static func message(
    _ size: Int = messageRoom, _ build: (UnsafeMutablePointer<CChar>) -> Void
  ) -> [UInt8] {
    var room = [UInt8](repeating: 0, count: size)
    unsafe room.withUnsafeMutableBytes { buffer in
      guard let base = buffer.baseAddress else { return }
      unsafe build(base.assumingMemoryBound(to: CChar.self))
    }
    let length = room[...].native32(at: 0) ?? 0
    return Array(room.prefix(Int(length)))
  }

  /// The whole batch, ready to be sent.
  var bytes: [UInt8] {
    unsafe Self.message { unsafe _ = nftnl_batch_begin($0, 0) }
      + body
      + Self.message { unsafe _ = nftnl_batch_end($0, UInt32(operations.count + 1)) }
  }

  /// The request that lists all objects of a type, in all families.
  static func dumpRequest(_ type: nf_tables_msg_types) -> [UInt8] {
    unsafe message {
      unsafe _ = nftnl_nlmsg_build_hdr(
        $0, UInt16(type.rawValue), UInt16(NFPROTO_UNSPEC), UInt16(NLM_F_DUMP), 1)
    }
  }
}

extension String {
  /// At most 64 bytes, whatever was asked for: libnftnl's builders know no bounds.
  var bounded: String { utf8.count <= 64 ? self : String(prefix(16)) }
}
