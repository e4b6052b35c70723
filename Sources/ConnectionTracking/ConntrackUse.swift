// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketViews

/// What has the kernel track connections in a network namespace: it does so only where a rule asks
/// for their state.
///
/// An nft table of our own with one chain that no packet meets, since it hangs at no hook.
public enum ConntrackUse {
  /// The table that belongs to the rules in a table of ours.
  public static func table(of ruleTable: String) -> String { ruleTable + "_flows" }

  /// Has connections tracked from now on, also after this process has gone.
  ///
  /// Needs CAP_NET_ADMIN. `table` is ours alone.
  public static func begin(table: String) throws(ConntrackError) {
    var batch = Batch()
    batch.add(0, "add table \(table)") { $0.add(1, table) }  // NFT_MSG_NEWTABLE, NFTA_TABLE_NAME
    batch.add(3, "add chain \(table)") { request in  // NFT_MSG_NEWCHAIN
      request.add(1, table)  // NFTA_CHAIN_TABLE
      request.add(3, "tracked")  // NFTA_CHAIN_NAME
    }
    batch.add(6, "add rule \(table)") { request in  // NFT_MSG_NEWRULE
      request.add(1, table)  // NFTA_RULE_TABLE
      request.add(2, "tracked")  // NFTA_RULE_CHAIN
      request.addNested(4) { expressions in  // NFTA_RULE_EXPRESSIONS
        expressions.addNested(1) { element in  // NFTA_LIST_ELEM
          element.add(1, "ct")  // NFTA_EXPR_NAME
          element.addNested(2) { data in  // NFTA_EXPR_DATA
            data.add(1, UInt32(1))  // NFTA_CT_DREG, NFT_REG_1
            data.add(2, UInt32(0))  // NFTA_CT_KEY, NFT_CT_STATE
          }
        }
      }
    }
    try batch.commit()
  }

  /// Takes that back; false if it was never begun.
  ///
  /// Where nobody else asks for connections, the kernel unhooks its tracking, which empties every
  /// NFQUEUE of the namespace: do it when none holds packets.
  @discardableResult
  public static func end(table: String) throws(ConntrackError) -> Bool {
    var batch = Batch()
    batch.add(2, "delete table \(table)") { $0.add(1, table) }  // NFT_MSG_DELTABLE
    do throws(ConntrackError) {
      try batch.commit()
      return true
    } catch .notFound {
      return false
    }
  }
}

/// Changes to nf_tables that are made as one.
private struct Batch {
  private var bytes: [UInt8] = []
  private var operations: [String] = []
  private static let inet: UInt8 = 1  // NFPROTO_INET

  init() {
    // NFNL_MSG_BATCH_BEGIN
    bytes =
      NetfilterRequest(
        16, flags: NetfilterRequest.plain, sequence: 0, family: 0, resource: Netfilter.tables
      ).bytes
  }

  mutating func add(_ type: UInt16, _ operation: String, _ body: (inout NetfilterRequest) -> Void) {
    operations.append(operation)
    // Only what adds may find its object there already.
    let creates = type == 2 ? 0 : NetfilterRequest.create
    var request = NetfilterRequest(
      Netfilter.tables << 8 | type, flags: NetfilterRequest.acknowledged | creates,
      sequence: UInt32(operations.count), family: Self.inet)
    body(&request)
    bytes += request.bytes
  }

  func commit() throws(ConntrackError) {
    // NFNL_MSG_BATCH_END
    let end = NetfilterRequest(
      17, flags: NetfilterRequest.plain, sequence: UInt32(operations.count + 1), family: 0,
      resource: Netfilter.tables)
    do throws(SystemError) {
      let channel = try NetlinkChannel(.netfilter)
      try channel.send(bytes + end.bytes)
      var buffer = [UInt8](repeating: 0, count: 1 << 14)
      for operation in operations {
        guard case .datagram(let count) = try channel.receive(into: &buffer) else {
          throw SystemError(operation, errno: 110)  // ETIMEDOUT
        }
        let errno = Self.refusal(buffer.span.packetBytes.slice(from: 0, length: count))
        if errno != 0 { throw SystemError(operation, errno: errno) }
      }
    } catch {
      if error.errno == 2 { throw .notFound }
      throw .system(error)
    }
  }

  private static func refusal(_ datagram: RawSpan) -> Int32 {
    var cursor = 0
    if case .refused(let errno) = ConntrackMessage.next(in: datagram, at: &cursor) { return errno }
    return 71  // EPROTO
  }
}
