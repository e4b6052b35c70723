// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import Testing

@testable import LinkLayer

extension NetnsTests {
  /// Messages with marks and priorities of their own, with the kernel's help and without.
  @Suite(.diverts) struct DivertPriority {
    @Test(arguments: [true, false])
    func `each frame keeps its mark and priority`(_ takesPriority: Bool) async throws {
      try await withTopology { _ in
        let device = try #require(try LinkDevice.find(name: "a1")).index
        let rules = (0..<3).map {
          "add rule netdev w out meta mark \($0 + 5) \(Self.match($0)) counter"
        }
        try Shell.run(
          """
          nft 'add table netdev w; add chain netdev w out \
            { type filter hook egress device a1 priority 0; }; \(rules.joined(separator: "; "))'
          """)
        guard try FrameSocket.takesPriority(askingOf: device) || !takesPriority else { return }
        let socket = try FrameSocket(
          device: device, takesPriority: takesPriority, trail: .none)
        var transmission = FrameTransmission(takesPriority: takesPriority, trail: .none)
        let message = [UInt8](repeating: 0, count: 10) + experiment()
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: message.count, alignment: 8)
        defer { memory.deallocate() }
        memory.copyBytes(from: message)
        for frame in 0..<60 {
          let kind = frame / 4 % 3
          transmission.append(
            memory, frame: frame, mark: UInt32(kind + 5), priority: Self.priorities[kind],
            trail: .none)
        }
        var next = 0
        while next < transmission.count {
          let taken = transmission.send(from: next, by: socket)
          #expect(taken > 0)
          next += max(taken, 1)
        }
        #expect(try DivertTraffic.counts("netdev w out") == [20, 20, 20])
        try Shell.run("nft delete table netdev w")
      }
    }

    private static let priorities: [UInt32] = [0, 6, 0x1_0005]

    private static func match(_ kind: Int) -> String {
      ["meta priority none", "meta priority 0:6", "meta priority 1:5"][kind]
    }
  }
}
