// SPDX-License-Identifier: Apache-2.0

internal import ConnectionTracking
internal import Kernel
internal import Synchronization

/// The bits of the conntrack mark that say under which policy every callout has released a flow.
///
/// A rule that finds the value of the policy in force there lets the packet pass unseen.
package struct FlowMark: Sendable, Hashable {
  /// One run of bits; all others are never changed.
  package var mask: UInt32

  /// Nil if `mask` is not one run of at least two bits.
  package init?(mask: UInt32) {
    guard mask.nonzeroBitCount >= 2,
      mask >> UInt32(mask.trailingZeroBitCount) == UInt32.max >> UInt32(32 - mask.nonzeroBitCount)
    else { return nil }
    self.mask = mask
  }

  /// What stands there for the policy of a number; never 0, which stands for none.
  package func value(ofPolicy number: UInt32) -> UInt32 {
    let shift = UInt32(mask.trailingZeroBitCount)
    return (number % (mask >> shift) + 1) << shift
  }
}

/// Marks the connections of released flows, on a thread of its own: the kernel is asked, and it may
/// not know a connection before its first packet has gone.
final class FlowReleaser: Sendable {
  private struct Order: Sendable {
    var tuple: ConntrackTuple
    var policy: UInt32
    var tries = 0
  }

  /// How often a connection is looked for, ten milliseconds apart.
  private static let patience = 200

  private let mark: FlowMark
  private let orders: OrderBox<Order>
  private let marked = Atomic<UInt64>(0)

  init(_ mark: FlowMark) throws(SystemError) {
    self.mark = mark
    orders = try OrderBox()
    try orders.start("callout-release") { [self] in run() }
  }

  /// How many connections were marked.
  var count: UInt64 { marked.load(ordering: .relaxed) }

  /// Has a connection marked under a policy's number; false if too many wait for that.
  func release(_ tuple: ConntrackTuple, under policy: UInt32) -> Bool {
    orders.put(Order(tuple: tuple, policy: policy))
  }

  /// Ends the thread and waits for that.
  func end() { orders.end() }

  private func run() {
    guard var socket = try? ConntrackSocket() else { return }
    var poller = orders.makePoller()
    var waiting: [Order] = []
    while let news = orders.take(&poller, milliseconds: waiting.isEmpty ? -1 : 10) {
      waiting = (waiting + news).compactMap { carryOut($0, &socket) }
    }
  }

  /// Nil if the order is carried out, or cannot be.
  private func carryOut(_ order: Order, _ socket: inout ConntrackSocket) -> Order? {
    do throws(ConntrackError) {
      try socket.setMark(mark.value(ofPolicy: order.policy), mask: mark.mask, of: order.tuple)
      marked.add(1, ordering: .relaxed)
      return nil
    } catch {
      var order = order
      order.tries += 1
      return error == .notFound && order.tries < Self.patience ? order : nil
    }
  }
}
