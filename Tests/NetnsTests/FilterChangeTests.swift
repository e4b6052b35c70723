// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutTestSupport
import Foundation
import PacketTagging
import Testing

extension NetnsTests {
  /// The first filter of the MAC layers comes and the last one goes, while frames do.
  @Suite(.diverts) struct FilterChanges {
    private static let cycles = 200
    private static let framesACycle = 1000

    /// TCP segments of up to 64 KiB both ways until `end`, whose bytes must arrive as they were.
    private final class Bulk {
      private let folder: String
      private let thread: Background
      private let failure: Shared<String?>

      init() throws {
        let folder = try Shell.run("mktemp -d").trimmingCharacters(in: .whitespacesAndNewlines)
        let failure = Shared<String?>(nil)
        let script = """
          cd \(folder)
          say() { while [ ! -e end ]; do head -c 150000 /dev/urandom; sleep 0.05; done; }
          ip netns exec p1 socat -u TCP-LISTEN:5001,reuseaddr OPEN:there,creat & there=$!
          socat -u TCP-LISTEN:5002,reuseaddr OPEN:here,creat & here=$!
          say | tee sent1 | socat -u - TCP:10.9.1.2:5001,retry=50,interval=0.1 & one=$!
          say | tee sent2 | ip netns exec p1 socat -u - TCP:10.9.1.1:5002,retry=50,interval=0.1
          wait $one; wait $there; wait $here
          cmp sent1 there; cmp sent2 here; test -s here; test -s there
          """
        self.folder = folder
        self.failure = failure
        thread = Background {
          do {
            try Shell.run(script)
          } catch {
            failure.change { $0 = "\(error)" }
          }
        }
      }

      /// Ends the transfers; what went wrong, if anything did.
      func end() throws -> String? {
        try Shell.run("touch \(folder)/end")
        thread.join()
        try Shell.run("rm -rf \(folder)")
        return failure.value
      }
    }

    @Test func `200 times added and removed under load: each frame arrives once, in order`()
      async throws
    {
      try await withTopology { topology in
        try topology.silence()
        try Shell.run("ip link set a1 mtu 9000; ip -n p1 link set b1 mtu 9000")
        let ends = [NumberedReceiver("a1"), NumberedReceiver(in: "p1", "b1")]
        defer { for end in ends { end.close() } }
        let bridge = makeBridge { $0.interfaces = ["a1"] }
        let none = framePolicy([]) { _, _ in }
        // One direction, the other, and now and then both.
        let (inbound, outbound) = (Layer.inboundMACFrameEthernet, Layer.outboundMACFrameEthernet)
        let some = [[inbound], [outbound], [inbound, outbound]].map { layers in
          framePolicy(layers) { _, _ in }
        }
        var (late, forced) = (0, 0)
        try await running(bridge, none) {
          let budget = Shared(0)
          let sizes = NumberedSender.sizes + [4000, 9014]
          let count = Self.cycles * Self.framesACycle
          let senders = [("p1" as String?, "b1"), (nil, "a1")].map { namespace, device in
            Background {
              let sender = NumberedSender(in: namespace, device, sizes: sizes)
              var sent = 0
              while sent < count {
                guard sent < budget.value else {
                  usleep(500)
                  continue
                }
                sender.send(count: 40, pause: 2000)
                sent += 40
              }
            }
          }
          let bulk = try Bulk()
          for cycle in 0..<Self.cycles {
            // Frames come while it is set up, and while it is taken down.
            budget.change { $0 += Self.framesACycle / 2 }
            try await bridge.apply(some[cycle % 10 == 9 ? 2 : cycle % 2])
            budget.change { $0 += Self.framesACycle / 2 }
            try await bridge.apply(none)
            for port in try await bridge.statistics().ports {
              // Counts begin anew with each divert.
              #expect(!port.isAttached && port.counters.ringLosses == 0, "\(port)")
              late += Int(port.counters.tally.overtaken + port.counters.overloaded)
              forced += Int(port.counters.tally.forcedRemovals)
            }
          }
          for sender in senders { sender.join() }
          for end in ends {
            try await expectSoon { end.contents.count == count }
            let log = end.contents
            #expect(log.isComplete && log.doubled == 0, "\(log)")
            // Only those that were put back when the divert had to go can be overtaken.
            #expect(log.late <= late, "\(log), of \(late) in \(forced) forced removals")
          }
          #expect(try bulk.end() == nil)
          let statistics = try await bridge.statistics()
          #expect(statistics.frames.frames > 10_000 && statistics.frames.lost == 0)
        }
      }
    }
  }
}
