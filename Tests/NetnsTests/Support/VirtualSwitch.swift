// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import CalloutTestSupport
import Foundation
import PacketTagging
import PacketViews

/// The layers of virtual switches, as a frame meets them.
let switchLayers: [Layer] = [.ingressVSwitchEthernet, .egressVSwitchEthernet]

/// A bridge and its ports, by their indices.
struct Switch {
  let bridge: UInt32
  let ports: [UInt32]
  func port(_ number: Int) -> UInt32 { ports[number - 1] }
  /// The address of a peer's end.
  func station(_ number: UInt64) -> MACAddress {
    MACAddress(rawValue: 0x0200_0000_0002 | number << 8)
  }
}

/// What a callout saw of a frame.
struct SwitchedFrame: Sendable {
  var layer: Layer
  var sequence: UInt64?
  var ports: [UInt32?]
  var bridge: UInt32
  var addresses: [MACAddress]
  var vlan: UInt16
  var isWellFormed: Bool
  var beginsWithMAC: Bool
  var isFurtherCopy: Bool
  var types: [SwitchInterfaceType?]
  var network: SwitchNetworkType?

  init(_ frame: borrowing ClassifiedFrame) {
    layer = frame.layer
    sequence = frame.sequence
    ports = [frame.vSwitchSourcePort, frame.vSwitchDestinationPort]
    bridge = frame.metadata.bridgeIndex
    addresses = [frame.layout.source, frame.layout.destination]
    vlan = frame.layout.tagControl
    isWellFormed = frame.layout.isWellFormed
    beginsWithMAC = frame.data.byteCount == frame.bytes.byteCount
    types = [frame.metadata.sourcePortType, frame.metadata.destinationPortType]
    network = frame.metadata.networkType
    isFurtherCopy = frame.l2IncomingFlags.contains(.reclassifyMultiDestination)
  }
}

/// A callout for frames that may wait.
final class PendingFrames: Callout {
  typealias Pended = @Sendable (consuming PendedFrame) -> Void
  private let body: FrameBody
  private let pendedBody: Pended
  init(_ body: @escaping FrameBody, pended: @escaping Pended) {
    self.body = body
    pendedBody = pended
  }
  override func classify(_ frame: borrowing ClassifiedFrame, _ out: inout Classification) {
    body(frame, &out)
  }
  override func pended(_ frame: consuming PendedFrame) { pendedBody(frame) }
}

/// A bridge of p1, p2 and p3, with this host (10.9.1.1) on it.
///
/// p2 is 10.9.1.3 and 10.9.1.98, the latter wrongly known to p1, and 10.9.5.3 in VLAN 5; p3 is
/// 10.9.1.4; 10.9.1.99 is nobody.
func withSwitch(_ body: (Switch) async throws -> Void) async throws {
  try await withTopology(peers: 3) { _ in
    try Shell.run(
      """
      ip link add br0 address 02:00:00:00:01:01 type bridge; ip link set br0 up
      echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables || true
      echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables || true
      for n in 1 2 3; do ip addr flush dev a$n; ip link set a$n master br0; done
      ip addr add 10.9.1.1/24 dev br0
      for n in 1 2; do
        ip -n p$n link add link b$n name b$n.5 type vlan id 5; ip -n p$n link set b$n.5 up
      done
      ip -n p1 addr add 10.9.5.2/24 dev b1.5
      ip -n p2 addr add 10.9.5.3/24 dev b2.5
      ip -n p2 addr flush dev b2; ip -n p3 addr flush dev b3
      ip -n p2 addr add 10.9.1.3/24 dev b2; ip -n p2 addr add 10.9.1.98/24 dev b2
      ip -n p3 addr add 10.9.1.4/24 dev b3
      neigh() { ip ${1:+-n $1} neigh replace $2 lladdr $3 dev $4 nud permanent; }
      neigh p1 10.9.1.3 02:00:00:00:02:02 b1
      neigh p1 10.9.5.3 02:00:00:00:02:02 b1.5
      neigh p1 10.9.1.98 02:00:00:00:77:76 b1
      neigh p1 10.9.1.99 02:00:00:00:77:77 b1
      neigh p3 10.9.1.3 02:00:00:00:02:02 b3
      neigh p2 10.9.1.2 02:00:00:00:01:02 b2
      neigh '' 10.9.1.2 02:00:00:00:01:02 br0
      neigh '' 10.9.1.3 02:00:00:00:02:02 br0
      for n in 1 2 3; do bridge fdb replace 02:00:00:00:0$n:02 dev a$n master static; done
      """)
    try await body(
      Switch(
        bridge: if_nametoindex("br0"),
        ports: ["a1", "a2", "a3"].map { (name: String) in if_nametoindex(name) }))
  }
}
