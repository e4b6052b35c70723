// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Glibc

// Sets and verdict maps with concatenated keys, and the expressions that use them.
extension NFTransaction {
  /// A verdict of nf_tables; we never accept.
  enum Verdict: Equatable {
    case drop, `return`
    case jump(String)
    case goto(String)

    /// Corresponds to `NFT_RETURN` and its like.
    var code: UInt32 {
      switch self {
      case .drop: UInt32(NF_DROP)
      case .return: UInt32(bitPattern: NFT_RETURN.rawValue)
      case .jump: UInt32(bitPattern: NFT_JUMP.rawValue)
      case .goto: UInt32(bitPattern: NFT_GOTO.rawValue)
      }
    }

    fileprivate var chain: String? {
      switch self {
      case .drop, .return: nil
      case .jump(let chain), .goto(let chain): chain
      }
    }
  }

  private static let elementsPerMessage = 64
  private static let elementsRoom = 48 << 10

  /// Adds a set or verdict map whose elements count packets, with its elements.
  mutating func addMap(_ map: KernelLayout.Map, in table: String) {
    let id = UInt32(operations.count + 1)
    unsafe append(NFT_MSG_NEWSET, flags: NLM_F_CREATE, "add map \(table) \(map.name)") { header in
      guard let object = unsafe Self.emptySet(map, table) else { return }
      defer { unsafe nftnl_set_free(object) }
      unsafe nftnl_set_set_u32(object, UInt16(NFTNL_SET_ID.rawValue), id)
      unsafe Self.describe(map, object)
      unsafe nftnl_set_nlmsg_build_payload(header, object)
    }
    var rest = map.elements[...]
    while !rest.isEmpty {
      let part = rest.prefix(Self.elementsPerMessage)
      rest = rest.dropFirst(Self.elementsPerMessage)
      unsafe append(
        NFT_MSG_NEWSETELEM, flags: NLM_F_CREATE, "add elements of \(table) \(map.name)",
        room: Self.elementsRoom
      ) { header in
        guard let object = unsafe Self.emptySet(map, table) else { return }
        defer { unsafe nftnl_set_free(object) }
        for element in part {
          // The set owns its elements from here on.
          if let element = unsafe Self.element(element, map) {
            unsafe nftnl_set_elem_add(object, element)
          }
        }
        unsafe nftnl_set_elems_nlmsg_build_payload(header, object)
      }
    }
  }

  /// Deletes a set or map.
  mutating func deleteMap(_ name: String, in table: String) {
    unsafe append(NFT_MSG_DELSET, flags: 0, "delete map \(table) \(name)") { header in
      guard let object = unsafe nftnl_set_alloc() else { return }
      defer { unsafe nftnl_set_free(object) }
      unsafe nftnl_set_set_str(object, UInt16(NFTNL_SET_TABLE.rawValue), table.bounded)
      unsafe nftnl_set_set_str(object, UInt16(NFTNL_SET_NAME.rawValue), name.bounded)
      unsafe nftnl_set_nlmsg_build_payload(header, object)
    }
  }

  /// The request that lists all elements of a map of ours.
  static func elementsRequest(_ map: String, in table: String) -> [UInt8] {
    unsafe message {
      guard
        let header = unsafe nftnl_nlmsg_build_hdr(
          $0, UInt16(NFT_MSG_GETSETELEM.rawValue), UInt16(TableKind.inet.rawValue),
          UInt16(NLM_F_DUMP), 1),
        let object = unsafe nftnl_set_alloc()
      else { return }
      defer { unsafe nftnl_set_free(object) }
      unsafe nftnl_set_set_str(object, UInt16(NFTNL_SET_TABLE.rawValue), table.bounded)
      unsafe nftnl_set_set_str(object, UInt16(NFTNL_SET_NAME.rawValue), map.bounded)
      unsafe nftnl_set_elems_nlmsg_build_payload(header, object)
    }
  }

  private static func emptySet(_ map: KernelLayout.Map, _ table: String) -> OpaquePointer? {
    guard let object = unsafe nftnl_set_alloc() else { return nil }
    unsafe nftnl_set_set_str(object, UInt16(NFTNL_SET_TABLE.rawValue), table.bounded)
    unsafe nftnl_set_set_str(object, UInt16(NFTNL_SET_NAME.rawValue), map.name.bounded)
    return unsafe object
  }

  private static func describe(_ map: KernelLayout.Map, _ object: OpaquePointer) {
    var flags: UInt32 = map.isVerdictMap ? NFT_SET_MAP.rawValue : 0
    if !map.isExact { flags |= NFT_SET_INTERVAL.rawValue | NFT_SET_CONCAT.rawValue }
    unsafe nftnl_set_set_u32(object, UInt16(NFTNL_SET_FLAGS.rawValue), flags)
    // nft's own number for the type, 6 bits for each field: without it nft cannot list the table.
    let type = map.fields.reduce(UInt32(0)) { $0 << 6 | $1.typeNumber(map.family) }
    unsafe nftnl_set_set_u32(object, UInt16(NFTNL_SET_KEY_TYPE.rawValue), type)
    let lengths = map.fields.map { UInt8($0.length(map.family)) }
    let key = map.fields.reduce(0) { $0 + $1.paddedLength(map.family) }
    unsafe nftnl_set_set_u32(object, UInt16(NFTNL_SET_KEY_LEN.rawValue), UInt32(key))
    if !map.isExact {
      unsafe nftnl_set_set_data(
        object, UInt16(NFTNL_SET_DESC_CONCAT.rawValue), lengths, UInt32(lengths.count))
    } else if let length = lengths.first, lengths.count == 1 {
      unsafe nftnl_set_set_u32(object, UInt16(NFTNL_SET_KEY_LEN.rawValue), UInt32(length))
    }
    if map.isVerdictMap {
      unsafe nftnl_set_set_u32(object, UInt16(NFTNL_SET_DATA_TYPE.rawValue), 0xffff_ff00)
    }
    unsafe nftnl_set_set_u32(
      object, UInt16(NFTNL_SET_DESC_SIZE.rawValue), UInt32(clamping: map.elements.count))
    if let counter = unsafe nftnl_expr_alloc("counter") {
      unsafe nftnl_set_add_expr(object, counter)
    }
  }

  private static func element(_ element: KernelElement, _ map: KernelLayout.Map) -> OpaquePointer? {
    guard let object = unsafe nftnl_set_elem_alloc() else { return nil }
    let low = map.trimmed(map.key(element.ranges.map(\.lowerBound)))
    unsafe nftnl_set_elem_set(
      object, UInt16(NFTNL_SET_ELEM_KEY), low, UInt32(low.count))
    if !map.isExact {
      let high = map.key(element.ranges.map(\.upperBound))
      unsafe nftnl_set_elem_set(
        object, UInt16(NFTNL_SET_ELEM_KEY_END), high, UInt32(high.count))
    }
    if map.isVerdictMap {
      unsafe nftnl_set_elem_set_u32(
        object, UInt16(NFTNL_SET_ELEM_VERDICT), element.verdict.ofElement.code)
    }
    // NFTNL_UDATA_SET_ELEM_COMMENT, a byte for the length, and a string with its end.
    let words = Array(element.comment.utf8) + [0]
    let note = [0, UInt8(clamping: words.count)] + words
    unsafe nftnl_set_elem_set(
      object, UInt16(NFTNL_SET_ELEM_USERDATA), note, UInt32(note.count))
    return unsafe object
  }

  // MARK: Expressions

  /// Loads the fields side by side and looks them up.
  static func lookUp(
    _ fields: [KernelField], _ family: Families, _ map: String, isVerdictMap: Bool
  ) -> [OpaquePointer?] {
    var expressions: [OpaquePointer?] = unsafe []
    var words: UInt32 = 0
    for field in fields {
      // nft's own numbering: the first register by its old name.
      let register = words == 0 ? NFT_REG_1.rawValue : NFT_REG32_00.rawValue + words
      unsafe expressions += unsafe field.load(family, register)
      words += UInt32(field.paddedLength(family) / 4)
    }
    guard let lookup = unsafe nftnl_expr_alloc("lookup") else { return unsafe expressions }
    unsafe nftnl_expr_set_u32(lookup, UInt16(NFTNL_EXPR_LOOKUP_SREG), NFT_REG_1.rawValue)
    if isVerdictMap {
      unsafe nftnl_expr_set_u32(lookup, UInt16(NFTNL_EXPR_LOOKUP_DREG), NFT_REG_VERDICT.rawValue)
    }
    unsafe nftnl_expr_set_str(lookup, UInt16(NFTNL_EXPR_LOOKUP_SET), map.bounded)
    unsafe nftnl_expr_set_u32(lookup, UInt16(NFTNL_EXPR_LOOKUP_SET_ID), 0)
    unsafe expressions.append(lookup)
    return unsafe expressions
  }

  static func immediate(_ verdict: Verdict) -> OpaquePointer? {
    guard let immediate = unsafe nftnl_expr_alloc("immediate") else { return nil }
    unsafe nftnl_expr_set_u32(immediate, UInt16(NFTNL_EXPR_IMM_DREG), NFT_REG_VERDICT.rawValue)
    unsafe nftnl_expr_set_u32(immediate, UInt16(NFTNL_EXPR_IMM_VERDICT), verdict.code)
    if let chain = verdict.chain {
      unsafe nftnl_expr_set_str(immediate, UInt16(NFTNL_EXPR_IMM_CHAIN), chain.bounded)
    }
    return unsafe immediate
  }

  static func payload(
    _ base: nft_payload_bases, _ offset: UInt32, _ length: Int, to register: UInt32
  ) -> OpaquePointer? {
    guard let payload = unsafe nftnl_expr_alloc("payload") else { return nil }
    unsafe nftnl_expr_set_u32(payload, UInt16(NFTNL_EXPR_PAYLOAD_BASE), base.rawValue)
    unsafe nftnl_expr_set_u32(payload, UInt16(NFTNL_EXPR_PAYLOAD_OFFSET), offset)
    unsafe nftnl_expr_set_u32(payload, UInt16(NFTNL_EXPR_PAYLOAD_LEN), UInt32(length))
    unsafe nftnl_expr_set_u32(payload, UInt16(NFTNL_EXPR_PAYLOAD_DREG), register)
    return unsafe payload
  }
}

extension KernelField {
  /// nft's number for the type of the field's values.
  ///
  /// Corresponds to its `enum datatypes`.
  fileprivate func typeNumber(_ family: Families) -> UInt32 {
    switch self {
    case .sourceAddress, .destinationAddress: family == .ipv6 ? 8 : 7
    case .transportProtocol, .nextHeader: 12
    case .sourcePort, .destinationPort: 13
    case .icmpType: family == .ipv6 ? 29 : 14
    case .icmpCode: family == .ipv6 ? 33 : 32
    case .inputDevice, .outputDevice: 20
    }
  }

  /// Bytes in a key: whole registers.
  fileprivate func paddedLength(_ family: Families) -> Int { (length(family) + 3) & ~3 }

  /// Loads the field, in network order.
  fileprivate func load(_ family: Families, _ register: UInt32) -> [OpaquePointer?] {
    let size = length(family)
    func payload(_ base: nft_payload_bases, _ offset: UInt32) -> [OpaquePointer?] {
      unsafe [NFTransaction.payload(base, offset, size, to: register)]
    }
    func meta(_ key: nft_meta_keys) -> [OpaquePointer?] {
      unsafe [
        NFTransaction.load(key, to: register), NFTransaction.networkOrder(register),
      ]
    }
    switch self {
    case .sourceAddress:
      return unsafe payload(NFT_PAYLOAD_NETWORK_HEADER, family == .ipv6 ? 8 : 12)
    case .destinationAddress:
      return unsafe payload(NFT_PAYLOAD_NETWORK_HEADER, family == .ipv6 ? 24 : 16)
    case .transportProtocol: return unsafe [NFTransaction.load(NFT_META_L4PROTO, to: register)]
    case .sourcePort, .icmpType: return unsafe payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0)
    case .destinationPort: return unsafe payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2)
    case .icmpCode: return unsafe payload(NFT_PAYLOAD_TRANSPORT_HEADER, 1)
    case .nextHeader: return unsafe payload(NFT_PAYLOAD_NETWORK_HEADER, 6)
    case .inputDevice: return unsafe meta(NFT_META_IIF)
    case .outputDevice: return unsafe meta(NFT_META_OIF)
    }
  }
}

extension KernelLayout.Map {
  /// A key as it lies in the registers: each value in network order, padded to whole registers.
  func key(_ values: [UInt128]) -> [UInt8] {
    zip(fields, values).flatMap { field, value in
      let length = field.length(family)
      let bytes = (0..<length).reversed().map {
        UInt8(truncatingIfNeeded: value >> UInt128(8 * $0))
      }
      return bytes + [UInt8](repeating: 0, count: field.paddedLength(family) - length)
    }
  }
}

extension KernelElement {
  /// The filter's name as far as nft can take it back.
  var comment: String {
    let kept = name.prefix(48).map { character in
      character.isASCII
        && (character.isLetter || character.isNumber || " .-_:/".contains(character))
        ? character : "_"
    }
    return String(kept)
  }
}
