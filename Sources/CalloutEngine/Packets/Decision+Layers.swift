// SPDX-License-Identifier: Apache-2.0

// How the decisions of the layers that one packet meets at one hook become one verdict.
extension Decision {
  /// Whether no later layer need be asked.
  package var endsPacket: Bool { strength == Self.blocking }

  /// Adds what the next layer says; true if that decides now.
  ///
  /// There is no arbitration between layers: the first block ends the packet. Of answers that only
  /// delay it or send it elsewhere the strongest stands: a pend, then a hold, then a repeat or requeue.
  package mutating func follow(_ next: Decision) -> Bool {
    guard next.strength > strength || filter < 0 && next.filter >= 0 else { return false }
    self = next
    return true
  }

  private static let blocking = 4

  private var strength: Int {
    switch outcome {
    case .permit: 0
    case .repeat, .requeue: 1
    case .hold(_, permits: true): 2
    case .pend, .hold(_, permits: false): 3
    case .block, .absorb: Self.blocking
    }
  }
}
