// SPDX-License-Identifier: Apache-2.0

/// The uses of marks in the binary payloads of xtables matches and targets.
///
/// The layouts are those of `linux/netfilter/xt_*.h`; a revision or length not known here counts as a
/// use of all bits.
enum ExtensionMarks {
  typealias Use = (mask: UInt32, subject: MarkUse.Subject)

  private static let everything: [Use] = [(.max, .packet)]

  static func uses(
    isTarget: Bool, name: String, revision: UInt32, info: ArraySlice<UInt8>
  ) -> [Use] {
    switch (isTarget, name, revision) {
    case (false, "mark", 1):
      // struct xt_mark_mtinfo1 { mark, mask; invert }
      info.native32(at: 4).map { [($0, .packet)] } ?? everything
    case (false, "connmark", 1):
      // struct xt_connmark_mtinfo1 { mark, mask; invert }
      [(info.native32(at: 4) ?? .max, .connection)]
    case (true, "MARK", 2):
      // struct xt_mark_tginfo2 { mark, mask }: new = (old & ~mask) ^ mark
      either(info.native32(at: 0), info.native32(at: 4)).map { [($0, .packet)] } ?? everything
    case (true, "CONNMARK", 1), (true, "CONNMARK", 2):
      connectionMark(info, revision: revision)
    case (true, "TPROXY", _):
      // struct xt_tproxy_target_info { mark_mask, mark_value; … }, both revisions
      either(info.native32(at: 0), info.native32(at: 4)).map { [($0, .packet)] } ?? everything
    case (false, "socket", _):
      // flags & XT_SOCKET_RESTORESKMARK
      (info.byte(at: 0) ?? 0) & 4 != 0 ? everything : []
    case (false, "mark_m", _):
      // struct ebt_mark_m_info { unsigned long mark, mask; … } of the bridge family
      info.native32(at: 8).map { [($0, .packet)] } ?? everything
    case (false, "mark", _), (true, "MARK", _), (true, "CONNMARK", _), (true, "mark", _):
      everything
    case (false, "connmark", _):
      [(.max, .connection)]
    default:
      []
    }
  }

  /// struct xt_connmark_tginfo1 { ctmark, ctmask, nfmask; mode }, and tginfo2 with
  /// { …; shift_dir, shift_bits, mode }.
  private static func connectionMark(_ info: ArraySlice<UInt8>, revision: UInt32) -> [Use] {
    guard let mark = info.native32(at: 0), let mask = info.native32(at: 4),
      let packetMask = info.native32(at: 8), let mode = info.byte(at: revision == 2 ? 14 : 12)
    else { return everything }
    switch mode {
    case 0:  // set
      return [(mark | mask, .connection)]
    case 1:  // save: reads the packet's mark under nfmask
      return [(packetMask, .packet), (mask, .connection)]
    case 2:  // restore: clears nfmask, then adds the shifted connection mark
      let isRight = revision == 2 && info.byte(at: 12) == 1
      let shift = revision == 2 ? UInt32(info.byte(at: 13) ?? 0) : 0
      return [(packetMask | (isRight ? mask >> shift : mask << shift), .packet)]
    default:
      return everything
    }
  }

  private static func either(_ first: UInt32?, _ second: UInt32?) -> UInt32? {
    guard let first, let second else { return nil }
    return first | second
  }
}
