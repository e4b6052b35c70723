// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import PacketViews
import Testing

extension NetnsTests {
  /// A device whose frames are plain IP packets.
  @Suite(.diverts) struct DivertRawIP {
    @Test func `packets of a tun device pass both ways, and are seen without a MAC header`()
      async throws
    {
      try await withTopology { _ in
        let tunnel = try TunnelPair()
        defer { tunnel.close() }
        let versions = Shared<Set<UInt8>>([])
        let look: DecideBody = { frame in
          let version = frame.bytes.byte(at: 0) >> 4
          let length = Int(frame.bytes.bigEndian16(at: 2))
          versions.change { $0.insert(version) }
          if version == 4, length != frame.bytes.byteCount {
            Issue.record("\(frame.bytes.byteCount) bytes of \(length)")
          }
          return .permit
        }
        try await diverting("tun0", inbound: look, outbound: look) { inbound, outbound in
          try Shell.run("ping -c 5 -i 0.05 -W 2 10.8.0.2; ping -6 -c 5 -i 0.05 -W 2 fd08::2")
          let receivers = [Receiver(in: "p1"), Receiver()]
          Sender(to: "10.8.0.2").send(count: 200)
          Sender(in: "p1", to: "10.8.0.1").send(count: 200)
          try await expectSoon { receivers.allSatisfy { $0.count == 200 } }
          #expect(versions.value == [4, 6])
          for divert in [inbound, outbound] {
            try await expectSoon { try divert.counters.tally.permitted >= 210 }
          }
        }
      }
    }

    @Test func `packets are injected both ways`() async throws {
      try await withTopology { _ in
        let tunnel = try TunnelPair()
        defer { tunnel.close() }
        try await diverting("tun0") { inbound, outbound in
          let receivers = [Receiver(in: "p1"), Receiver()]
          #expect(
            outbound.injector.inject(datagram(to: [10, 8, 0, 2]).span.packetBytes) == .sent)
          #expect(inbound.injector.inject(datagram(to: [10, 8, 0, 1]).span.packetBytes) == .sent)
          try await expectSoon { receivers.allSatisfy { $0.count == 1 } }
          #expect(outbound.injector.inject([0x45, 0].span.packetBytes) == .malformed)
        }
      }
    }
  }
}

/// Two tun devices, one here and one in p1, between which a thread carries packets.
final class TunnelPair: Sendable {
  private let ends: [Int32]
  private let isEnding = Shared(false)
  private let thread: Background

  init() throws {
    ends = [Self.open("tun0", in: nil), Self.open("tun0", in: "p1")]
    let (ends, isEnding) = (ends, isEnding)
    try Shell.run(
      """
      ip addr add 10.8.0.1/24 dev tun0; ip addr add fd08::1/64 dev tun0 nodad
      ip link set tun0 up
      ip -n p1 addr add 10.8.0.2/24 dev tun0; ip -n p1 addr add fd08::2/64 dev tun0 nodad
      ip -n p1 link set tun0 up
      """)
    thread = Background {
      var buffer = [UInt8](repeating: 0, count: 70_000)
      while !isEnding.value {
        var ready = ends.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard poll(&ready, 2, 20) > 0 else { continue }
        for (index, each) in ready.enumerated() where each.revents & Int16(POLLIN) != 0 {
          let count = read(ends[index], &buffer, buffer.count)
          if count > 0 { _ = write(ends[1 - index], buffer, count) }
        }
      }
    }
  }

  func close() {
    isEnding.change { $0 = true }
    thread.join()
    for end in ends { Glibc.close(end) }
  }

  private static func open(_ name: String, in namespace: String?) -> Int32 {
    inNamespace(namespace) {
      let number = Glibc.open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)
      precondition(number >= 0)
      var request = [UInt8](repeating: 0, count: 40)
      request.replaceSubrange(0..<name.utf8.count, with: name.utf8)
      request[16] = 0x01  // IFF_TUN
      request[17] = 0x10  // IFF_NO_PI
      precondition(ioctl(number, 0x4004_54ca /* TUNSETIFF */, &request) == 0)
      return number
    }
  }
}

/// An IPv4 packet with a UDP datagram to port 7 as `Sender` makes them.
func datagram(to destination: [UInt8], from source: [UInt8] = [10, 8, 0, 9]) -> [UInt8] {
  var packet: [UInt8] = [0x45, 0, 0, 60, 0, 1, 0, 0, 64, 17, 0, 0] + source + destination
  packet += [0, 9, 0, 7, 0, 40, 0, 0] + [UInt8](repeating: 0, count: 32)
  var sum: UInt32 = 0
  for at in stride(from: 0, to: 20, by: 2) {
    sum += UInt32(packet[at]) << 8 | UInt32(packet[at + 1])
  }
  while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
  let checksum = ~UInt16(sum)
  packet[10] = UInt8(checksum >> 8)
  packet[11] = UInt8(checksum & 0xff)
  return packet
}
