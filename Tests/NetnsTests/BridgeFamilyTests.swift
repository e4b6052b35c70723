// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import NetfilterQueue
import PacketViews
import Testing

extension NetnsTests {
  /// Queues of nft's bridge family: what the kernel tells of frames that a bridge passes on.
  @Suite(
    .enabled(
      if: hasBridgeQueue, "no nft queue in this kernel's bridge family: run make guest-test"))
  struct BridgeFamily {
    @Test func `a frame comes with its link header, its ports and its VLAN`() async throws {
      try await withBridge { bridge, ports in
        let queue = try FrameQueue()
        let receiver = Receiver(in: "p2")
        Sender(in: "p1", to: "10.9.1.3").send(8)
        Sender(in: "p1", to: "10.9.5.3").send(9)
        try await expectSoon { queue.serve().count == 2 && receiver.count == 2 }
        let link: [UInt8] = [2, 0, 0, 0, 2, 2, 2, 0, 0, 0, 1, 2, 8, 0]
        for (frame, vlan) in zip(queue.serve(), [nil, 5] as [UInt16?]) {
          #expect(frame.family == 7)
          #expect(frame.hook == 2)
          #expect(frame.linkHeader == link)
          #expect(frame.bridge == bridge)
          #expect(frame.ports == [ports[0], ports[1]])
          #expect(frame.vlan == vlan)
        }
        #expect(queue.serve().map(\.sequence) == [8, 9])
      }
    }

    @Test func `a frame that is dropped goes nowhere`() async throws {
      try await withBridge { _, _ in
        let queue = try FrameQueue(verdict: .drop)
        let receiver = Receiver(in: "p2")
        let sender = Sender(in: "p1", to: "10.9.1.3")
        sender.send(1)
        try await expectSoon { queue.serve().count == 1 }
        queue.verdict = .accept
        sender.send(2)
        try await expectSoon { queue.serve().count == 2 && receiver.count == 1 }
        #expect(receiver.contents.sequences == [2])
      }
    }

    @Test func `a flooded frame comes once for each port`() async throws {
      try await withBridge { _, ports in
        let queue = try FrameQueue()
        Sender(in: "p1", to: "10.9.1.99").send(3)
        try await expectSoon { queue.serve().count == 2 }
        #expect(Set(queue.serve().map(\.ports)) == [[ports[0], ports[1]], [ports[0], ports[2]]])
        #expect(queue.serve().map(\.sequence) == [3, 3])
      }
    }

    /// A bridge of p1, p2 and p3, whose frames from p1 are queued.
    ///
    /// p2 is 10.9.1.3, and 10.9.5.3 in VLAN 5; 10.9.1.99 is nobody.
    private func withBridge(
      _ body: (_ bridge: UInt32, _ ports: [UInt32]) async throws -> Void
    ) async throws {
      try await withTopology(peers: 3) { _ in
        try Shell.run(
          """
          ip link add br0 type bridge; ip link set br0 up
          echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables || true
          for n in 1 2 3; do ip addr flush dev a$n; ip link set a$n master br0; done
          for n in 1 2; do
            ip -n p$n link add link b$n name b$n.5 type vlan id 5; ip -n p$n link set b$n.5 up
          done
          ip -n p1 addr add 10.9.5.2/24 dev b1.5
          ip -n p2 addr add 10.9.5.3/24 dev b2.5
          ip -n p2 addr add 10.9.1.3/24 dev b2
          ip -n p1 neigh replace 10.9.1.3 lladdr 02:00:00:00:02:02 dev b1 nud permanent
          ip -n p1 neigh replace 10.9.5.3 lladdr 02:00:00:00:02:02 dev b1.5 nud permanent
          ip -n p1 neigh replace 10.9.1.99 lladdr 02:00:00:00:77:77 dev b1 nud permanent
          nft 'add table bridge frames
            add chain bridge frames forward { type filter hook forward priority 0; }
            add rule bridge frames forward ether saddr 02:00:00:00:01:02 queue to 31500'
          """)
        let ports = ["a1", "a2", "a3"].map { (device: String) in if_nametoindex(device) }
        try await body(if_nametoindex("br0"), ports)
      }
    }
  }
}

/// Whether frames of bridges can be queued.
let hasBridgeQueue =
  (try? Shell.run("printf 'table bridge t { chain c { queue to 1; }; }' | nft -c -f -")) != nil

/// A queue of frames, all of which get one verdict.
private final class FrameQueue {
  struct Frame {
    var family: UInt8
    var hook: UInt8
    var bridge: UInt32
    var ports: [UInt32]
    var linkHeader: [UInt8]
    var vlan: UInt16?
    /// The sequence number with which `Sender` begins each datagram.
    var sequence: UInt64
  }

  var verdict: Verdict
  private let socket: QueueSocket
  private var buffer: ReceiveBuffer
  private var frames: [Frame] = []

  init(verdict: Verdict = .accept) throws {
    self.verdict = verdict
    socket = try QueueSocket.open(QueueOptions(number: 31500))
    buffer = socket.makeReceiveBuffer()
  }

  /// Decides what waits; gives all frames with UDP so far.
  func serve() -> [Frame] {
    for index in 0..<socket.receive(into: &buffer) {
      let datagram = buffer.datagram(index)
      var offset = 0
      while case .packet(let indication)? = QueueMessage.next(in: datagram, at: &offset) {
        socket.verdicts.append(indication.id, verdict, mark: nil, mergeable: false)
        let bytes = datagram.slice(
          from: indication.payloadOffset, length: indication.payloadLength)
        // Neighbours ask for each other, too.
        guard let layout = try? PacketLayout(parsing: bytes), layout.destinationPort == 7 else {
          continue
        }
        var link: [UInt8] = []
        for index in 0..<indication.linkHeaderLength {
          let place = indication.linkHeaderOffset + index
          link.append(datagram.unsafeLoad(fromByteOffset: place, as: UInt8.self))
        }
        frames.append(
          Frame(
            family: indication.family, hook: indication.hook,
            bridge: indication.metadata.inputDevice,
            ports: [
              indication.metadata.physicalInputDevice, indication.metadata.physicalOutputDevice,
            ],
            linkHeader: link,
            vlan: indication.metadata.vlanTCI,
            sequence: layout.payload(in: bytes).bigEndian64(at: 0)))
      }
    }
    socket.verdicts.flush()
    return frames
  }
}
