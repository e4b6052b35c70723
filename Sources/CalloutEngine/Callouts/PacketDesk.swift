// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// Why a packet cannot be handed to another queue.
public enum RequeueError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Nobody has bound the queue; the kernel would drop the packet.
  case notBound(queue: UInt16)
  /// A diverted frame waits in no queue, so it cannot be handed to another.
  case notAtLayer

  /// What to do about it.
  public var description: String {
    switch self {
    case .notBound(let queue): "nobody has bound queue \(queue); start its program first"
    case .notAtLayer:
      "diverted frames wait in no queue; requeue packets of IP layers or frames of bridges"
    }
  }
}

/// What becomes of a packet that was pended.
package enum PendedDecision: Sendable {
  case permit
  case block
  case failurePolicy
}

/// Who answers for packets that left `classify`: the worker that owns their queue.
///
/// Any thread.
package protocol PacketDesk: AnyObject, Sendable {
  /// Decides the pended packet of that ticket; a ticket that ran out is ignored.
  func decide(_ ticket: UInt64, _ decision: PendedDecision)
  /// Runs tagging work on the thread that owns the packet's contexts and waits for it; nil if the
  /// ticket ran out or the engine stopped. That thread itself cannot wait.
  func withContexts<Result: Sendable>(
    ofTicket ticket: UInt64,
    _ body: @escaping @Sendable (inout ContextTable, inout TaggedPacket) -> Result
  ) throws(TaggingError) -> Result?
  /// Ends what a clone bears.
  func free(clone packet: TaggedPacket)
  /// Sends a clone as this host's packet.
  func inject(clone packet: TaggedPacket, _ bytes: [UInt8]) throws(InjectionError)
  /// The queues that somebody has bound.
  func boundQueues() -> [UInt16]
}
