// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import Kernel
import PacketTagging
import PacketViews
import Synchronization

/// Answers for packets of a bench: nothing ever leaves `classify` there.
final class IdleDesk: PacketDesk {
  func decide(_ ticket: UInt64, _ decision: PendedDecision) {}
  func withContexts<Result: Sendable>(
    ofTicket ticket: UInt64, _ body: @Sendable (inout ContextTable, inout TaggedPacket) -> Result
  ) -> Result? { nil }
  func free(clone packet: TaggedPacket) {}
  func inject(clone packet: TaggedPacket, _ bytes: [UInt8]) throws(InjectionError) {
    throw .closed
  }
  func boundQueues() -> [UInt16] { [] }
}

/// One worker's worth of engine: classifies packets with one callout.
struct ClassificationBench: ~Copyable {
  var out: Classification
  let callout: Callout
  let policy: CompiledPolicy
  var layer = Layer.outboundTransportV4

  init(
    _ registration: CalloutRegistration, issuer: TagIssuer = TagIssuer(), mark: Bool = true,
    terminating: Bool = false, layer: Layer = .outboundTransportV4
  ) throws {
    let options = ContextTable.Options(field: mark ? MarkField(mask: 0x00ff_ff00) : nil)
    out = Classification(
      contexts: ContextTable(options, issuer: issuer, events: EventRing(capacity: 64)),
      desk: IdleDesk(), pendDeadline: 1_000_000_000)
    out.contexts.now = 1_000_000_000
    callout = registration.makeInstance()
    self.layer = layer
    policy = try CompiledPolicy(
      FilterPolicy(
        callouts: [registration],
        filters: [
          Filter(
            name: "all", layer: layer,
            action: terminating
              ? .calloutTerminating(registration.name) : .calloutUnknown(registration.name))
        ]))
  }

  /// The decision on a packet without a handle.
  mutating func classify(_ bytes: [UInt8]) throws -> Decision.Outcome {
    out.packet = TaggedPacket()
    out.rewritten.reset()
    return try classifyAgain(bytes)
  }

  /// The decision on a packet that bears what the last one bore.
  mutating func classifyAgain(_ bytes: [UInt8]) throws -> Decision.Outcome {
    out.packet.layer = layer.rawValue
    let span = bytes.span.packetBytes
    let layout = try PacketLayout(parsing: span)
    var metadata = PacketMetadata()
    metadata.originalLength = UInt32(bytes.count)
    let packet = ClassifiedPacket(bytes: span, layout: layout, layer: layer, metadata: metadata)
    var hits: [UInt64] = [0]
    let callouts = [HeldObject(heldByCaller: callout)]
    return out.evaluate(packet, policy, callouts.span, hits: &hits).outcome
  }

  /// The decision on a frame without a handle.
  mutating func classify(
    frame bytes: [UInt8], metadata: FrameMetadata = FrameMetadata()
  ) throws -> Decision.Outcome {
    out.packet = TaggedPacket()
    out.packet.layer = layer.rawValue
    out.rewrittenFrame.reset()
    let span = bytes.span.packetBytes
    var metadata = metadata
    metadata.originalLength = UInt32(bytes.count)
    let frame = ClassifiedFrame(
      bytes: span, layout: FrameLayout(parsing: span), layer: layer, metadata: metadata)
    var hits: [UInt64] = [0]
    let callouts = [HeldObject(heldByCaller: callout)]
    return out.evaluate(frame, policy, callouts.span, hits: &hits).outcome
  }

  /// The last packet's new headers, nil if it was not rewritten.
  var rewritten: PacketLayout? {
    guard out.rewritten.length > 0 else { return nil }
    let span = out.rewritten.contents
    var bytes: [UInt8] = []
    for index in 0..<span.count { bytes.append(span[index]) }
    return try? PacketLayout(parsing: bytes.span.packetBytes)
  }
}

/// Packets to classify.
enum SamplePacket {
  /// A UDP packet 192.0.2.1:4000 > 10.0.0.1:53 with four bytes and no UDP checksum.
  static let dnsQuery: [UInt8] = [
    0x45, 0, 0, 32, 0, 1, 0, 0, 10, 17, 0, 0, 192, 0, 2, 1, 10, 0, 0, 1,
    0x0f, 0xa0, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4,
  ]
  /// An echo request 192.0.2.1 > 10.0.0.1.
  static let ping: [UInt8] = [
    0x45, 0, 0, 28, 0, 1, 0, 0, 10, 1, 0, 0, 192, 0, 2, 1, 10, 0, 0, 1, 8, 0, 0, 0, 0, 1, 0, 1,
  ]
}

/// Frames to classify, from 02:…:01.
enum SampleFrame {
  static let one: [UInt8] = [2, 0, 0, 0, 0, 1]
  static let two: [UInt8] = [2, 0, 0, 0, 0, 2]
  static let all: [UInt8] = [255, 255, 255, 255, 255, 255]

  /// A DNS query to 02:…:02.
  static let dnsQuery: [UInt8] = two + one + [8, 0] + SamplePacket.dnsQuery

  /// An ARP packet; `source` is the frame's sender where that is another than the packet's.
  static func arp(
    _ operation: UInt8 = 1, from sender: [UInt8] = one, claims address: [UInt8] = [10, 0, 0, 1],
    source: [UInt8]? = nil, target: [UInt8] = [0, 0, 0, 0, 0, 0], to: [UInt8] = all,
    vlan: UInt8? = nil
  ) -> [UInt8] {
    let tag: [UInt8] = vlan.map { [0x81, 0, 0, $0] } ?? []
    let header: [UInt8] = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation]
    return to + (source ?? sender) + tag + header + sender + address + target + [10, 0, 0, 9]
  }
}

extension Decision.Outcome {
  /// The outcome in a word, for expectations.
  var word: String { "\(self)".prefix { $0 != "(" }.description }
}
