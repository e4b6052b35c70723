// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import PacketTagging
import Testing

/// Numbered datagrams that come by one layer, and what is done to them there.
struct Crossing: Sendable, CustomTestStringConvertible {
  enum Way { case arriving, leaving, through }

  let layer: Layer
  let way: Way
  var testDescription: String { "\(layer.name) \(way)" }
  var isIPv6: Bool { !layer.indicatesFrames && layer.isIPv6 }
  var isInbound: Bool { way == .arriving }

  /// One for each layer that is met without a bridge.
  static let all: [Crossing] = [
    (Layer.inboundIPPacketV4, Way.arriving), (.inboundIPPacketV6, .arriving),
    (.outboundIPPacketV4, .leaving), (.outboundIPPacketV6, .leaving),
    (.ipForwardV4, .through), (.ipForwardV6, .through),
    (.inboundTransportV4, .arriving), (.inboundTransportV6, .arriving),
    (.datagramDataV4, .arriving), (.datagramDataV6, .arriving),
    (.datagramDataV4, .leaving), (.datagramDataV6, .leaving),
    (.aleAuthRecvAcceptV4, .arriving), (.aleAuthRecvAcceptV6, .arriving),
    (.outboundTransportV4, .leaving), (.outboundTransportV6, .leaving),
    (.aleAuthConnectV4, .leaving), (.aleAuthConnectV6, .leaving),
    (.inboundMACFrameEthernet, .arriving), (.outboundMACFrameEthernet, .leaving),
    (.inboundMACFrameNative, .arriving), (.outboundMACFrameNative, .leaving),
  ].map { Crossing(layer: $0.0, way: $0.1) }

  private func address(_ link: Int, _ end: Int) -> String {
    isIPv6 ? "fd09:\(link)::\(end)" : "10.9.\(link).\(end)"
  }
  var source: String { way == .leaving ? address(1, 1) : address(1, 2) }
  var destination: String {
    switch way {
    case .arriving: address(1, 1)
    case .leaving: address(1, 2)
    case .through: address(2, 2)
    }
  }

  /// Sends numbered datagrams, each of which comes by: where only the first of a flow does, as many
  /// flows.
  func send(count: Int, first: UInt64 = 0, size: Int = 32) {
    guard layer.isFlowAuthorization else {
      sender().send(count: count, first: first, size: size)
      return
    }
    for number in first..<first + UInt64(count) {
      sender(from: 20_000 + UInt16(truncatingIfNeeded: number)).send(number, size: size)
    }
  }

  private func sender(from port: UInt16 = 0) -> Sender {
    Sender(in: way == .leaving ? nil : "p1", to: destination, from: port)
  }

  func receiver(port: UInt16 = 7) -> Receiver {
    let place: String? =
      switch way {
      case .arriving: nil
      case .leaving: "p1"
      case .through: "p2"
      }
    return Receiver(in: place, isIPv6: isIPv6, port: port)
  }

  /// The links that it takes.
  func prepare(_ topology: Topology) throws {
    if way == .through { try topology.enableForwarding() }
  }

  /// A policy that asks a callout about the datagrams at this layer, with more filters behind it.
  ///
  /// Frames of the first link are taken in too where packets are to be received from there.
  func policy(
    action: (String) -> FilterAction = { .calloutUnknown($0) }, sublayers: [Sublayer] = [],
    sublayer: String = "default", then others: [Filter] = [], takesFrames: Bool = false,
    packets: @escaping ClassifyBody = { _, _ in },
    frames: @escaping FrameBody = { _, _ in }
  ) -> FilterPolicy {
    var result = framePolicy([], packets: packets) { frame, out in
      if frame.sequence != nil { frames(frame, &out) }
    }
    result.sublayers = sublayers
    result.filters = [
      Filter(
        name: "the layer", layer: layer, sublayer: sublayer, weight: .explicit(10),
        conditions: layer.indicatesFrames ? [] : [Condition(.ipProtocol, .equal(17))],
        action: action("test"))
    ]
    if takesFrames, isInbound, !layer.indicatesFrames {
      result.callouts.append(
        CalloutRegistration(name: "frames") {
          FrameCallout { _, _ in
          } packets: { _, _ in
          }
        })
      result.filters.append(
        Filter(
          name: "frames", layer: .inboundMACFrameEthernet, action: .calloutInspection("frames")))
    }
    result.filters += others
    return result
  }
}

/// Runs the body with a bridge at the first link, and an injection handle for what comes by there.
func withCrossing(
  _ crossing: Crossing, _ body: (Bridge, InjectionHandle, UInt32) async throws -> Void
) async throws {
  try await withTopology(peers: 2) { topology in
    try crossing.prepare(topology)
    let bridge = injectingBridge()
    let handle =
      crossing.layer.indicatesFrames
      ? try bridge.makeInjectionHandle(kinds: .l2)
      : try bridge.makeInjectionHandle(kinds: .network, family: crossing.isIPv6 ? .ipv6 : .ipv4)
    try await body(bridge, handle, try index(of: "a1"))
    await handle.destroy()
    #expect(handle.pendingCount == 0)
  }
}
