// SPDX-License-Identifier: Apache-2.0

import Foundation
import PacketViews
import Testing

/// One frame of `Tests/Daemon/golden-frames.json`: scapy's bytes and tshark's fields.
struct GoldenFrame: Decodable, Sendable, CustomTestStringConvertible {
  var name: String
  var bytes: String
  var fields: [String: [String]]
  var testDescription: String { name }

  static let all: [GoldenFrame] = {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Daemon/golden-frames.json")
    guard let data = try? Data(contentsOf: file) else { return [] }
    return (try? JSONDecoder().decode([GoldenFrame].self, from: data)) ?? []
  }()

  var octets: [UInt8] {
    let digits = Array(bytes)
    return stride(from: 0, to: digits.count, by: 2).compactMap {
      UInt8(String(digits[$0...($0 + 1)]), radix: 16)
    }
  }

  func text(_ field: String) -> String? { fields[field]?.first }

  func numbers(_ field: String) -> [UInt16] {
    (fields[field] ?? []).compactMap {
      $0.hasPrefix("0x") ? UInt16($0.dropFirst(2), radix: 16) : UInt16($0)
    }
  }

  /// The control information of all tags, from the outside in.
  var controls: [UInt16] {
    ["ieee8021ad", "vlan"].flatMap { kind in
      zip(numbers("\(kind).id"), zip(numbers("\(kind).priority"), numbers("\(kind).dei"))).map {
        $1.0 << 13 | $1.1 << 12 | $0
      }
    }
  }

  /// What tshark says that the frame carries, or the length that it declares.
  var innermostType: UInt16? {
    numbers("llc.type").last ?? numbers("vlan.etype").last ?? numbers("vlan.len").last
      ?? numbers("eth.type").last ?? numbers("eth.len").last
  }
}

struct GoldenFrameTests {
  @Test func `there are golden frames`() { #expect(GoldenFrame.all.count >= 18) }

  @Test(arguments: GoldenFrame.all)
  func `the layout says what tshark says`(golden: GoldenFrame) {
    let found = frameLayout(golden.octets)
    #expect(found.isWellFormed)
    #expect(found.destination.description == golden.text("eth.dst"))
    #expect(found.source.description == golden.text("eth.src"))
    #expect(found.etherType.rawValue == golden.innermostType)
    #expect(found.tagCount == golden.controls.count)
    #expect(found.tagControl == golden.controls.first ?? 0)
    #expect(
      found.innerTag?.control == (golden.controls.count > 1 ? golden.controls[1] : nil))
    if found.tagCount > 0 {
      #expect(found.outerTag?.tagProtocol.rawValue == golden.numbers("eth.type").first)
    }
    let declared = golden.numbers("eth.len").first ?? golden.numbers("vlan.len").first
    #expect(found.declaredLength == declared.map(Int.init))
  }

  @Test(arguments: GoldenFrame.all)
  func `what the frame carries begins where the layout says`(golden: GoldenFrame) throws {
    let bytes = golden.octets
    let found = frameLayout(bytes)
    let network = found.network(in: bytes.span.packetBytes)
    if let source = golden.text("ip.src") ?? golden.text("ipv6.src") {
      let packet = try PacketLayout(parsing: network)
      #expect(packet.sourceAddress == IPAddress(source))
    }
    guard let operation = golden.numbers("arp.opcode").first else { return }
    let arp = try ARPPacket(network)
    let (kind, sender, target) = (arp.operation, arp.senderAddress, arp.targetAddress)
    let (from, to) = (arp.senderHardwareAddress, arp.targetHardwareAddress)
    #expect(kind == operation)
    #expect(sender.description == golden.text("arp.src.proto_ipv4"))
    #expect(target.description == golden.text("arp.dst.proto_ipv4"))
    #expect(from.description == golden.text("arp.src.hw_mac"))
    #expect(to.description == golden.text("arp.dst.hw_mac"))
  }
}
