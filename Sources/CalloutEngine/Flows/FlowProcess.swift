// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// A process of this host that has a flow's socket.
///
/// Of several, as after a fork, the one of the lowest number is meant, and `init` only where no other
/// has it.
public struct FlowProcess: Sendable, Hashable {
  /// Its number in the process namespace of this program.
  public var id: UInt32
  /// The path of its executable, as the kernel tells it; one that was deleted since bears no note of
  /// that.
  ///
  /// Another mount namespace may have another file under that path.
  public var path: String

  /// A process.
  public init(id: UInt32, path: String) {
    self.id = id
    self.path = path
  }
}

/// The filters that ask for the processes of flows, by authorization layer.
struct ProcessInterest: Sendable {
  /// Of more filters not each is tried: any packet is taken to be wanted.
  private static let mostTried = 64

  private static let layers: [Layer] = [
    .aleAuthConnectV4, .aleAuthConnectV6, .aleAuthRecvAcceptV4, .aleAuthRecvAcceptV6,
  ]

  /// Bit by layer.
  private var asking: UInt8 = 0
  /// Where such filters stand; none where there are too many.
  private var positions: [[Int]] = [[], [], [], []]

  /// What the compiled filters, and the callouts that they name, ask for.
  init(_ compiler: FilterCompiler, _ callouts: [CalloutRegistration]) {
    for (number, layer) in Self.layers.enumerated() {
      let place = compiler.layers[Int(layer.rawValue)]
      let all = (place.first..<place.end).filter { position in
        let filter = compiler.filters[position]
        let conditions = compiler.conditions[Int(filter.firstCondition)..<Int(filter.endCondition)]
        let callout = Int(filter.callout)
        return conditions.contains { $0.field == .aleAppID }
          || callouts.indices.contains(callout) && callouts[callout].readsProcess
      }
      guard !all.isEmpty else { continue }
      asking |= 1 << UInt8(number)
      if all.count <= Self.mostTried { positions[number] = all }
    }
  }

  @inline(__always)
  func contains(_ hook: Hook, isIPv6: Bool) -> Bool {
    (hook == .output || hook == .input) && asking >> UInt8(Self.number(hook, isIPv6)) & 1 != 0
  }

  var isEmpty: Bool { asking == 0 }

  /// The filters to be tried for packets at a hook; none if any packet is wanted.
  func filters(at hook: Hook, isIPv6: Bool) -> [Int] { positions[Self.number(hook, isIPv6)] }

  /// The layer that asks for the packets of a hook.
  static func layer(_ hook: Hook, isIPv6: Bool) -> Layer { layers[number(hook, isIPv6)] }

  @inline(__always)
  private static func number(_ hook: Hook, _ isIPv6: Bool) -> Int {
    (hook == .input ? 2 : 0) + (isIPv6 ? 1 : 0)
  }
}

extension CompiledPolicy {
  /// Whether the process of a flow whose first packet is at `hook` may be asked for.
  @inline(__always)
  package func asksForProcess(_ hook: Hook, isIPv6: Bool) -> Bool {
    processInterest.contains(hook, isIPv6: isIPv6)
  }

  /// Whether the processes of any flows are asked for.
  package var asksForProcesses: Bool { !processInterest.isEmpty }

  /// Whether a filter that asks for the process may match a first packet, whoever's it is.
  package func asksForProcess(
    of packet: borrowing ClassifiedPacket, isReauthorization: Bool
  ) -> Bool {
    let isIPv6 = packet.layer.isIPv6
    guard processInterest.contains(packet.hook, isIPv6: isIPv6) else { return false }
    let filters = processInterest.filters(at: packet.hook, isIPv6: isIPv6)
    let met = packet.met(
      at: ProcessInterest.layer(packet.hook, isIPv6: isIPv6), isReauthorization: isReauthorization)
    for position in filters where mayMatch(met, self.filters[position]) { return true }
    return filters.isEmpty
  }

  /// Whether a filter matches a packet of some process.
  private func mayMatch(
    _ packet: borrowing ClassifiedPacket, _ filter: CompiledFilter
  ) -> Bool {
    var position = Int(filter.firstCondition)
    while position < Int(filter.endCondition) {
      let field = conditions[position].field
      let value = packet.value(of: field)
      var accepted = field == .aleAppID
      while true {
        let condition = conditions[position]
        position += 1
        if let value, condition.accepts(value, sets) { accepted = true }
        if condition.endsGroup { break }
      }
      if !accepted { return false }
    }
    return true
  }
}
