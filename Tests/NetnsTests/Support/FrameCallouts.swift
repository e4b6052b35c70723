// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import PacketTagging
import PacketViews

typealias FrameBody = @Sendable (borrowing ClassifiedFrame, inout Classification) -> Void

/// A callout for frames and packets, made of closures.
final class FrameCallout: Callout {
  private let frameBody: FrameBody
  private let packetBody: ClassifyBody

  init(_ frameBody: @escaping FrameBody, packets packetBody: @escaping ClassifyBody) {
    self.frameBody = frameBody
    self.packetBody = packetBody
  }

  override func classify(_ frame: borrowing ClassifiedFrame, _ out: inout Classification) {
    frameBody(frame, &out)
  }

  override func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {
    packetBody(packet, &out)
  }
}

extension ClassifiedFrame {
  /// The sequence number with which `Sender` begins each datagram; nil if it is none of those.
  var sequence: UInt64? {
    let network = network
    guard let packet = try? PacketLayout(parsing: network), packet.hasPorts,
      packet.destinationPort == 7
    else { return nil }
    return packet.payload(in: network).bigEndian64(at: 0)
  }
}

/// A policy that shows frames and UDP datagrams of `layers` to closures.
///
/// `conditions` are those of the Ethernet layers.
func framePolicy(
  _ layers: [Layer], tags: [ContextTag] = [], conditions: [Condition] = [], revision: String = "",
  packets: @escaping ClassifyBody = { _, _ in }, _ frames: @escaping FrameBody
) -> FilterPolicy {
  FilterPolicy(
    callouts: [
      CalloutRegistration(
        name: "test", revision: revision, neededBytes: .wholePacket, tags: tags
      ) { FrameCallout(frames, packets: packets) }
    ],
    filters: layers.map { layer in
      Filter(
        name: layer.name, layer: layer,
        conditions: layer.indicatesFrames
          ? layer.medium == .ethernet ? conditions : []
          : [Condition(.ipProtocol, .equal(17))],
        action: .calloutUnknown("test"))
    })
}
