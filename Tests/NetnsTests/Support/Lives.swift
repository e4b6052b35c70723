// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutLifecycle
import CalloutTestSupport
import PacketTagging
import Testing

/// What became of some tagged packets, as the kernel told it.
struct Lives {
  let bridge: Bridge
  var events: [LifeEvent] = []

  var ends: [LifeEvent] { events.filter { $0.kind == .contextRemoved } }

  /// The kinds of the events of one context, in their order.
  func story(of context: UInt64) -> [LifeEventKind] {
    events.filter { $0.context == context }.map(\.kind)
  }
}

/// What a test does with a packet, given the tag.
typealias TaggedBody =
  @Sendable (borrowing ClassifiedPacket, inout Classification, ContextTag) -> Void

/// Tags packets at the first of `layers` by the sequence numbers that they begin with (all, or those
/// with the one number), lets `traffic` run, and waits until `count` of them have come to their end.
func lives(
  at layers: [Layer], count: Int = 1, protocolNumber: UInt8 = 17, only: UInt64? = nil,
  disposition: CopyDisposition = .share, configure: (inout BridgeConfiguration) -> Void = { _ in },
  context: @escaping @Sendable (borrowing ClassifiedPacket) -> UInt64 = { $0.sequence },
  pended: PendedBody? = nil, preparing prepare: (Bridge) async throws -> Void = { _ in },
  classify: @escaping TaggedBody = { _, _, _ in },
  during traffic: () async throws -> Void
) async throws -> Lives {
  let bridge = makeBridge {
    $0.lifecycle = .automatic
    configure(&$0)
  }
  let tag = bridge.makeTag(named: "t", onCopy: disposition)
  let log = EventLog()
  let notify = bridge.registerNotify("log") { log.note($0) }
  let first = layers.first
  var result = Lives(bridge: bridge)
  try await running(
    bridge,
    policy(
      layers, tags: [tag], needs: .wholePacket, protocolNumber: protocolNumber, pended: pended
    ) { packet, out in
      if packet.layer == first, only == nil || only == packet.sequence {
        try? out.associate(context(packet), with: tag, notify: notify)
      }
      classify(packet, &out, tag)
    }
  ) {
    let warnings = try await bridge.statistics().warnings
    #expect(bridge.isObserved, "\(warnings)")
    try await prepare(bridge)
    try await traffic()
    try await expectSoon { log.reasons().count >= count }
    try await expectSoon { try await bridge.statistics().tagging.live == 0 }
    let tagging = try await bridge.statistics().tagging
    #expect(tagging.associated == tagging.ended)
    // The stream hands out what happened a moment late.
    try await expectSoon { log.reasons().count == Int(tagging.ended) }
    result.events = log.all
  }
  #expect(result.ends.count == count)
  return result
}

/// Whether this kernel lets its functions be followed.
let countsCopies = KernelObserver.probe().contains {
  $0.name == "observe-copies" && $0.support == .supported
}
