// SPDX-License-Identifier: Apache-2.0

import CNFTables

/// Follows marks through the registers of one nft rule.
///
/// A mark is loaded, masked, compared or looked up, changed and set. Each register remembers which
/// bits of which mark it still shows: `(mark & keep) ^ flip`.
struct MarkWalk {
  private enum Content: Equatable {
    case packetMark(keep: UInt32, flip: UInt32)
    case connectionMark(keep: UInt32, flip: UInt32)
    /// A constant or anything that is no mark.
    case other
  }

  /// `NFT_BITWISE_BOOL`, which later headers call `NFT_BITWISE_MASK_XOR`.
  private static let maskAndFlip: UInt32 = 0

  /// By 4-byte register, 0 for `NFT_REG32_00`.
  private var registers: [UInt32: Content] = [:]
  private var found: [(mask: UInt32, subject: MarkUse.Subject)] = []

  /// The uses of marks in a rule, each mask once.
  static func uses(in rule: NFRule) -> [MarkUse] {
    var walk = MarkWalk()
    for expression in rule.expressions { walk.step(expression) }
    var uses: [MarkUse] = []
    for (mask, subject) in walk.found {
      let use = MarkUse(mask: mask, subject: subject, origin: rule.origin, rule: rule.place)
      if mask != 0, !uses.contains(use) { uses.append(use) }
    }
    return uses
  }

  private mutating func step(_ expression: NFExpression) {
    switch expression.name {
    case "meta":
      meta(expression)
    case "ct":
      connection(expression)
    case "bitwise":
      bitwise(expression)
    case "match", "target":
      if let (name, revision, info) = expression.extended {
        found += ExtensionMarks.uses(
          isTarget: expression.name == "target", name: name, revision: revision, info: info)
      }
    case "dynset":
      readKey(expression.number(NFTA_DYNSET_SREG_KEY.rawValue))
      readKey(expression.number(NFTA_DYNSET_SREG_DATA.rawValue))
    case "cmp":
      read(expression.number(NFTA_CMP_SREG.rawValue))
    case "range":
      read(expression.number(NFTA_RANGE_SREG.rawValue))
    case "lookup":
      readKey(expression.number(NFTA_LOOKUP_SREG.rawValue))
      forget(expression.number(NFTA_LOOKUP_DREG.rawValue))
    case "hash":
      readKey(expression.number(NFTA_HASH_SREG.rawValue))
      forget(expression.number(NFTA_HASH_DREG.rawValue))
    case "queue":
      read(expression.number(NFTA_QUEUE_SREG_QNUM.rawValue))
    case "objref":
      readKey(expression.number(NFTA_OBJREF_SET_SREG.rawValue))
    case "byteorder":
      copy(
        from: expression.number(NFTA_BYTEORDER_SREG.rawValue),
        to: expression.number(NFTA_BYTEORDER_DREG.rawValue))
    case "immediate":
      forget(expression.number(NFTA_IMMEDIATE_DREG.rawValue))
    case "payload":
      read(expression.number(NFTA_PAYLOAD_SREG.rawValue))
      forget(expression.number(NFTA_PAYLOAD_DREG.rawValue))
    default:
      // Whatever else loads a register says so in an attribute we do not know, and the worst that
      // follows is a mark taken for used where it was not.
      break
    }
  }

  // MARK: Loads and sets

  private mutating func meta(_ expression: NFExpression) {
    let isMark = expression.number(NFTA_META_KEY.rawValue) == NFT_META_MARK.rawValue
    if let destination = expression.number(NFTA_META_DREG.rawValue) {
      registers[slot(destination)] = isMark ? .packetMark(keep: .max, flip: 0) : .other
    }
    guard isMark, let source = expression.number(NFTA_META_SREG.rawValue) else { return }
    switch registers[slot(source)] ?? .other {
    case .packetMark(let keep, let flip):
      found.append((~keep | flip, .packet))
    case .connectionMark, .other:
      found.append((.max, .packet))  // all 32 bits are written
    }
  }

  private mutating func connection(_ expression: NFExpression) {
    let isMark = expression.number(NFTA_CT_KEY.rawValue) == NFT_CT_MARK.rawValue
    if let destination = expression.number(NFTA_CT_DREG.rawValue) {
      registers[slot(destination)] = isMark ? .connectionMark(keep: .max, flip: 0) : .other
    }
    guard isMark, let source = expression.number(NFTA_CT_SREG.rawValue) else { return }
    switch registers[slot(source)] ?? .other {
    case .packetMark(let keep, _):
      found.append((keep, .packet))  // saved, to be replayed
      found.append((.max, .connection))
    case .connectionMark(let keep, let flip):
      found.append((~keep | flip, .connection))
    case .other:
      found.append((.max, .connection))
    }
  }

  // MARK: Changes

  private mutating func bitwise(_ expression: NFExpression) {
    guard let source = expression.number(NFTA_BITWISE_SREG.rawValue),
      let destination = expression.number(NFTA_BITWISE_DREG.rawValue)
    else { return }
    let content = registers[slot(source)] ?? .other
    guard (expression.number(NFTA_BITWISE_OP.rawValue) ?? 0) == Self.maskAndFlip,
      let mask = expression.data(NFTA_BITWISE_MASK.rawValue)?.native32(at: 0),
      let flip = expression.data(NFTA_BITWISE_XOR.rawValue)?.native32(at: 0)
    else {
      // A shift, or an operation with another register: the bits move, so their use is counted here
      // and a set from the result counts as a write of everything.
      read(source)
      registers[slot(destination)] = .other
      return
    }
    switch content {
    case .packetMark(let keep, let earlier):
      registers[slot(destination)] = .packetMark(keep: keep & mask, flip: earlier & mask ^ flip)
    case .connectionMark(let keep, let earlier):
      registers[slot(destination)] = .connectionMark(
        keep: keep & mask, flip: earlier & mask ^ flip)
    case .other:
      registers[slot(destination)] = .other
    }
  }

  private mutating func copy(from source: UInt32?, to destination: UInt32?) {
    guard let source, let destination else { return }
    read(source)
    registers[slot(destination)] = .other
  }

  private mutating func forget(_ register: UInt32?) {
    if let register { registers[slot(register)] = .other }
  }

  /// Counts what is looked at when one register is compared.
  private mutating func read(_ register: UInt32?) {
    if let register { count(registers[slot(register)]) }
  }

  /// Counts what is looked at when registers from this one on are a key of several fields.
  ///
  /// The key's length is not in the rule, so marks in all later registers count.
  private mutating func readKey(_ register: UInt32?) {
    guard let first = register.map(slot) else { return }
    for (index, content) in registers where index >= first { count(content) }
  }

  private mutating func count(_ content: Content?) {
    switch content {
    case .packetMark(let keep, _): found.append((keep, .packet))
    case .connectionMark(let keep, _): found.append((keep, .connection))
    case .other, nil: break
    }
  }

  /// `NFT_REG_1` … `NFT_REG_4` are 16 bytes each, over the same storage as `NFT_REG32_00` … `15`.
  private func slot(_ register: UInt32) -> UInt32 {
    guard register < NFT_REG32_00.rawValue else {
      return min(register - NFT_REG32_00.rawValue, 64)
    }
    return register == 0 ? 64 : (register - 1) * 4
  }
}
