// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Glibc

/// The uses of marks in routing rules (`ip rule … fwmark`).
enum RoutingRules {
  /// Those of IPv4 and IPv6; a family the kernel lacks has none.
  static func markUses() throws(RuleError) -> [MarkUse] {
    let socket = try NetlinkSocket.route()
    var uses: [MarkUse] = []
    for family in [UInt8(AF_INET), UInt8(AF_INET6)] {
      do throws(RuleError) {
        for message in try socket.dump(request(family), what: "list routing rules")
        where message.type == UInt16(RTM_NEWRULE) {
          if let use = try use(message.payload, family: family) { uses.append(use) }
        }
      } catch {
        guard error.meansUnsupported else { throw error }
      }
    }
    return uses
  }

  /// Reads a `struct fib_rule_hdr` and its attributes; nil if the rule looks at no mark.
  static func use(_ payload: ArraySlice<UInt8>, family: UInt8) throws(RuleError) -> MarkUse? {
    // struct fib_rule_hdr is 12 bytes; its fifth is the old 8-bit table number.
    guard let attributes = NetlinkAttributes(payload.dropFirst(12)),
      let shortTable = payload.byte(at: 4)
    else { throw .malformedAnswer(from: "rtnetlink", detail: "a routing rule") }
    let mark = attributes[UInt32(FRA_FWMARK)]?.native32(at: 0)
    let mask = attributes[UInt32(FRA_FWMASK)]?.native32(at: 0) ?? .max
    guard let mark, mask != 0 else { return nil }
    let priority = attributes[UInt32(FRA_PRIORITY)]?.native32(at: 0) ?? 0
    let table = attributes[UInt32(FRA_TABLE)]?.native32(at: 0) ?? UInt32(shortTable)
    let command = family == UInt8(AF_INET6) ? "ip -6 rule" : "ip rule"
    return MarkUse(
      mask: mask, origin: .ipRule,
      rule: "\(command) \(priority): fwmark \(MarkMatch(value: mark, mask: mask)) table \(table)")
  }

  /// A dump request: a header and a `struct fib_rule_hdr` that names only the family.
  private static func request(_ family: UInt8) -> [UInt8] {
    let flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
    let header: [[UInt8]] = [
      UInt32(28).hostBytes, UInt16(RTM_GETRULE).hostBytes, flags.hostBytes,
      UInt32(1).hostBytes, UInt32(0).hostBytes,
    ]
    return header.flatMap { $0 } + [family] + [UInt8](repeating: 0, count: 11)
  }
}

extension FixedWidthInteger {
  /// The bytes in the order of this machine.
  fileprivate var hostBytes: [UInt8] {
    // On a big-endian machine `littleEndian` has swapped them already.
    (0..<(Self.bitWidth / 8)).map { UInt8(truncatingIfNeeded: littleEndian >> (8 * $0)) }
  }
}
