// SPDX-License-Identifier: Apache-2.0

import Kernel
import PacketTagging
import PacketViews

@testable import CalloutEngine

/// Ethernet frames from 02:…:01 to 02:…:02.
enum MakeFrame {
  static let one = MACAddress(rawValue: 0x0200_0000_0001)
  static let two = MACAddress(rawValue: 0x0200_0000_0002)

  static func bytes(_ address: MACAddress) -> [UInt8] {
    (0..<6).map { UInt8(truncatingIfNeeded: address.rawValue >> UInt64(40 - 8 * $0)) }
  }

  static func ethernet(
    from: MACAddress = one, to: MACAddress = two, tags: [VLANTag] = [], type: UInt16 = 0x0800,
    _ payload: [UInt8] = Make.ipv4(17)
  ) -> [UInt8] {
    let middle = tags.flatMap { Make.big(Int($0.rawValue >> 16)) + Make.big(Int($0.control)) }
    return bytes(to) + bytes(from) + middle + Make.big(Int(type)) + payload
  }

  static func arp(
    _ operation: Int = 1, from: MACAddress = one, claims: [UInt8] = [10, 0, 0, 1],
    source: MACAddress? = nil, target: MACAddress = MACAddress(rawValue: 0),
    to: MACAddress = MACAddress(rawValue: 0xffff_ffff_ffff), tags: [VLANTag] = []
  ) -> [UInt8] {
    let packet =
      [0, 1, 8, 0, 6, 4] + Make.big(operation) + bytes(from) + claims + bytes(target)
      + [10, 0, 0, 2]
    return ethernet(from: source ?? from, to: to, tags: tags, type: 0x0806, packet)
  }
}

/// A callout of frames made of closures.
final class ScriptedFrames: Callout {
  typealias Script = (borrowing ClassifiedFrame, inout Classification) -> Void
  typealias ChainScript = (borrowing FrameChain, inout Classification) -> Void
  let single: Script
  let chain: ChainScript
  let form: FrameForm

  init(
    _ form: FrameForm = .single, single: @escaping Script = { _, _ in },
    chain: @escaping ChainScript = { _, _ in }
  ) {
    self.form = form
    self.single = single
    self.chain = chain
  }

  override var frameForm: FrameForm { form }

  override func classify(_ frame: borrowing ClassifiedFrame, _ out: inout Classification) {
    single(frame, &out)
  }

  override func classify(chain: borrowing FrameChain, _ out: inout Classification) {
    self.chain(chain, &out)
  }
}

extension Bench {
  /// Puts filters in force that ask these callouts.
  func adoptFrames(
    _ filters: [Filter], sublayers: [Sublayer] = [], allowsBatches: Bool = false,
    fewFilters: Int = FilterCompiler.fewFilters, _ scripts: [(String, ScriptedFrames)] = []
  ) throws {
    policy = try CompiledPolicy(
      FilterPolicy(
        sublayers: sublayers,
        callouts: scripts.map { name, _ in
          CalloutRegistration(name: name, allowsL2BatchClassify: allowsBatches) { Callout() }
        }, filters: filters), fewFilters: fewFilters)
    callouts = scripts.map(\.1)
    hits = [UInt64](repeating: 0, count: filters.count)
  }

  /// Has the policy in force decide a frame.
  func decideFrame(
    _ bytes: [UInt8] = MakeFrame.ethernet(), at layer: Layer = .inboundMACFrameEthernet,
    isRawIP: Bool = false, metadata: FrameMetadata = FrameMetadata()
  ) throws -> Decision {
    let span = bytes.span.packetBytes
    let layout = isRawIP ? FrameLayout(parsingRawIP: span) : FrameLayout(parsing: span)
    out.packet = TaggedPacket()
    out.packet.id = 1
    out.packet.layer = layer.rawValue
    out.answer = .none
    out.rewrittenFrame.reset()
    guard let policy else { return Decision() }
    let callouts = callouts.map { HeldObject(heldByCaller: $0) }
    let frame = ClassifiedFrame(bytes: span, layout: layout, layer: layer, metadata: metadata)
    return out.evaluate(frame, policy, callouts.span, hits: &hits)
  }

  /// Shows a frame to `body`, through a filter that matches all.
  func withFrame(
    _ bytes: [UInt8] = MakeFrame.ethernet(), at layer: Layer = .inboundMACFrameEthernet,
    isRawIP: Bool = false, metadata: FrameMetadata = FrameMetadata(),
    _ body: @escaping ScriptedFrames.Script
  ) throws {
    try adoptFrames(
      [filter(.calloutInspection("c"), layer: layer)], [("c", ScriptedFrames(single: body))])
    _ = try decideFrame(bytes, at: layer, isRawIP: isRawIP, metadata: metadata)
  }

  /// Has the policy in force decide frames that lie one after the other.
  func decideBatch(
    _ frames: [[UInt8]], at layer: Layer = .inboundMACFrameEthernet, capacity: Int = 64
  ) throws -> (decisions: [String], packets: [TaggedPacket], contents: [[UInt8]]) {
    guard let policy else { return ([], [], []) }
    let memory = frames.flatMap { $0 }
    var batch = FrameBatch(capacity: capacity)
    var offset = 0
    for (number, bytes) in frames.enumerated() {
      var packet = TaggedPacket()
      packet.id = UInt32(number)
      packet.layer = layer.rawValue
      let place = ChainedFrame(
        offset: offset, length: bytes.count, layout: FrameLayout(parsing: bytes.span.packetBytes),
        metadata: FrameMetadata())
      _ = batch.append(place, bearing: packet)
      offset += bytes.count
    }
    let held = callouts.map { HeldObject(heldByCaller: $0) }
    let forms = policy.frameForms(of: callouts)
    out.evaluate(
      &batch, in: memory.span.packetBytes, at: layer, policy, held.span, forms.span, hits: &hits)
    let count = batch.count
    var decisions: [String] = []
    var packets: [TaggedPacket] = []
    var contents: [[UInt8]] = []
    for index in 0..<count {
      decisions.append(batch.decision(at: index).text)
      packets.append(batch.packets[index])
      contents.append(batch.rewritten[index].contents(of: frames[index]))
    }
    return (decisions, packets, contents)
  }
}
