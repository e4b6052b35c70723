// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import LinkLayer
import PacketTagging
import PacketViews
import Testing

extension NetnsTests {
  /// The kernel's reports of groups, IGMP and MLD, whose mark is what is left of another number.
  @Suite(.diverts) struct DivertReports {
    /// A socket that is in one more group of either family with each call.
    private struct Members {
      let sockets = [AF_INET, AF_INET6].map { socket($0, Int32(SOCK_DGRAM.rawValue), 0) }
      private var count: UInt8 = 0

      mutating func join() throws {
        count += 1
        var four = ip_mreq()
        inet_pton(AF_INET, "239.9.9.\(count)", &four.imr_multiaddr)
        inet_pton(AF_INET, "10.9.1.1", &four.imr_interface)
        var six = ipv6_mreq()
        inet_pton(AF_INET6, "ff02::9:\(count)", &six.ipv6mr_multiaddr)
        six.ipv6mr_interface = if_nametoindex("a1")
        try #require(
          setsockopt(sockets[0], Int32(IPPROTO_IP), IP_ADD_MEMBERSHIP, &four, 8) == 0)
        try #require(
          setsockopt(sockets[1], Int32(IPPROTO_IPV6), 20 /* IPV6_ADD_MEMBERSHIP */, &six, 20) == 0)
      }

      func close() { for socket in sockets { Glibc.close(socket) } }
    }

    /// Which report a frame is, nil for others.
    private static func kind(_ bytes: RawSpan) -> String? {
      guard bytes.byteCount > 70 || bytes.bigEndian16(at: 12) == 0x800 else { return nil }
      switch bytes.bigEndian16(at: 12) {
      case 0x800: return bytes.byteCount > 23 && bytes.byte(at: 23) == 2 ? "IGMP" : nil
      // Hop-by-hop options, then ICMPv6.
      case 0x86dd:
        return bytes.byte(at: 20) == 0 && bytes.byte(at: 54) == 58 && bytes.byte(at: 62) == 143
          ? "MLD" : nil
      default: return nil
      }
    }

    /// The marks of reports that leave by a1.
    private func marks(_ members: inout Members) async throws -> [String: UInt32] {
      let marks = Shared<[String: UInt32]>([:])
      let watch = try Diversion("a1", .outbound) { frame in
        let mark = frame.metadata.mark
        if let kind = Self.kind(frame.bytes) { marks.change { $0[kind] = mark } }
        return .permit
      }
      try members.join()
      try await expectSoon { marks.value.count == 2 }
      try watch.stop()
      return marks.value
    }

    @Test(arguments: ["IGMP", "MLD"])
    func `a bit that the kernel left in a report's mark does not stand for ours`(_ kind: String)
      async throws
    {
      try await withTopology { _ in
        var members = Members()
        defer { members.close() }
        let mark = try #require(try await marks(&members)[kind])
        try #require(mark != 0, "this kernel leaves nothing in the mark")
        let bit: UInt32 = 1 << UInt32(31 - mark.leadingZeroBitCount)
        let seen = Shared<[UInt32]>([])
        let divert = try Diversion("a1", .outbound, bit: bit) { frame in
          let mark = frame.metadata.mark
          if Self.kind(frame.bytes) == kind { seen.change { $0.append(mark) } }
          return .permit
        }
        try members.join()
        try await expectSoon { !seen.value.isEmpty }
        #expect(seen.value.allSatisfy { $0 & bit == 0 })
        let counters = try divert.stop()
        expectAccounting(counters)
        // One that went by as ours would have been counted as such.
        #expect(counters.returned == counters.tally.permitted)
        #expect(counters.tally.forcedRemovals == 0 && counters.tally.strayed == 0)
      }
    }

    @Test func `a report bears no context of ours, whatever its mark is`() async throws {
      try await withTopology { _ in
        var members = Members()
        defer { members.close() }
        let mark = try #require(try await marks(&members)["MLD"])
        try #require(mark != 0, "this kernel leaves nothing in the mark")
        // The highest bit that is set is the one of injected frames.
        let top = UInt32(31 - mark.leadingZeroBitCount)
        let width = UInt32(min(16, max(8, top + 1)))
        let mask: UInt32 = ((1 << width) - 1) << (max(top + 1, width) - width)
        let bridge = makeBridge {
          $0.interfaces = ["a1"]
          $0.mark = .mask(mask)
        }
        let (found, met) = (Shared<[UInt64]>([]), Shared<[InjectionState]>([]))
        let tag = bridge.makeTag(named: "t")
        let handle = try bridge.makeInjectionHandle(kinds: .l2)
        let policy = framePolicy([.outboundMACFrameEthernet], tags: [tag]) { frame, out in
          // Others' contexts are there to be mistaken for the report's.
          guard Self.kind(frame.bytes) == "MLD" else {
            try? out.associate(1, with: tag)
            return
          }
          if let context = try? out.retrieve(tag) { found.change { $0.append(context) } }
          let state = out.injectionState(for: handle).state
          met.change { $0.append(state) }
        }
        try await running(bridge, policy) {
          Sender(to: "10.9.1.2").send(count: 100)
          try members.join()
          try await expectSoon { !met.value.isEmpty }
          #expect(met.value.allSatisfy { $0 == .notInjected } && found.value.isEmpty)
        }
      }
    }
  }
}
