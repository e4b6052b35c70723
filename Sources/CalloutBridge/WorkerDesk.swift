// SPDX-License-Identifier: Apache-2.0

package import CalloutEngine
internal import Kernel
package import PacketTagging

/// Takes the calls of packets that left `classify` to the worker that owns them.
package final class WorkerDesk: PacketDesk {
  let mailbox: Mailbox
  let injector: PacketInjector

  init(mailbox: Mailbox, injector: PacketInjector) {
    self.mailbox = mailbox
    self.injector = injector
  }

  /// Decides a pended packet.
  package func decide(_ ticket: UInt64, _ decision: PendedDecision) {
    mailbox.post { $0.decide(ticket, decision) }
  }

  /// Works on a pended packet's contexts.
  package func withContexts<Result: Sendable>(
    ofTicket ticket: UInt64,
    _ body: @escaping @Sendable (inout ContextTable, inout TaggedPacket) -> Result
  ) throws(TaggingError) -> Result? {
    guard !mailbox.isOwn else { throw .wouldDeadlock }
    let answer = mailbox.ask { state -> Result? in
      guard var packet = state.pended.entry(ticket)?.packet else { return nil }
      let result = body(&state.out.contexts, &packet)
      state.pended.update(ticket, packet)
      return result
    }
    return answer ?? nil
  }

  /// Ends what a clone bears.
  package func free(clone packet: TaggedPacket) {
    guard packet.handle != 0 else { return }
    mailbox.post { $0.out.contexts.free(clone: packet.handle) }
  }

  /// Sends a clone.
  package func inject(clone packet: TaggedPacket, _ bytes: [UInt8]) throws(InjectionError) {
    if packet.handle != 0 {
      guard mailbox.post({ $0.out.contexts.noteSent(clone: packet.handle) }) else { throw .closed }
    }
    try injector.send(bytes, bearing: packet.handle, isMarked: true)
  }

  /// The queues that somebody has bound.
  package func boundQueues() -> [UInt16] { QueueStatus.all().map(\.number) }
}
