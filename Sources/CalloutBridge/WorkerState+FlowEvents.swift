// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import ConnectionTracking
internal import PacketTagging
internal import PacketViews

// What the kernel tells of connections, joined to the flows of this worker's packets.
extension WorkerState {
  /// Takes in events in the order in which they came.
  mutating func take(_ events: [ConntrackEvent]) {
    guard out.followsFlows else { return }
    for event in events {
      switch event {
      case .began(let connection): follow(connection)
      case .changed(let connection): follow(connection)
      case .ended(let connection):
        for key in connection.flowKeys {
          let place = out.flows.find(key)
          guard place >= 0, out.flows[place].formerConnection != connection.id,
            out.flows[place].connection == 0 || out.flows[place].connection == connection.id
          else { continue }
          endFlow(place)
        }
      case .overrun: break
      }
    }
  }

  /// How many flows there are of which the kernel has told.
  var followedFlows: Int {
    mutating get {
      var count = 0
      out.flows.change { if $0.connection != 0 { count += 1 } }
      return count
    }
  }

  /// Ends the flows of connections that have gone without our being told.
  mutating func endFlows(without all: Set<UInt32>) {
    var limit = out.flows.placesUsed
    while limit > 0 {
      let place = out.flows.look(&limit) {
        $0.connection != 0 && !all.contains($0.connection)
      }
      guard place >= 0 else { return }
      endFlow(place)
    }
  }

  private mutating func follow(_ connection: Connection) {
    // TCP is established when both sides have agreed, the others by their first packet.
    let isEstablished =
      connection.original.transportProtocol != .tcp || connection.tcpState == .established
    for key in connection.flowKeys {
      let place = out.flows.find(key)
      guard place >= 0, out.flows[place].formerConnection != connection.id else { continue }
      out.flows[place].connection = connection.id
      guard isEstablished, !out.flows[place].isEstablished,
        out.flows[place].opener != .unknown
      else { continue }
      out.flows[place].isEstablished = true
      let isIPv6 = key.isIPv6
      if !indicate(place, at: isIPv6 ? .aleFlowEstablishedV6 : .aleFlowEstablishedV4) {
        out.flows[place].isAborted = true
      }
      if !out.flows.deletions.isEmpty { tellDeletions() }
    }
  }
}

extension Connection {
  /// The flows under which its packets are met at the different hooks: one, but for translation.
  var flowKeys: [FlowKey] {
    let plain = original.flowKey
    guard isTranslated else { return [plain] }
    // Behind PREROUTING the destination is translated, the source only behind POSTROUTING.
    let between = FlowKey(
      original.source, reply.source, original.transportProtocol,
      sourcePort: original.sourcePort, destinationPort: reply.sourcePort)
    return Array(Set([plain, between, reply.flowKey]))
  }
}

extension ConntrackTuple {
  var flowKey: FlowKey {
    FlowKey(
      source, destination, transportProtocol, sourcePort: sourcePort,
      destinationPort: destinationPort)
  }
}
