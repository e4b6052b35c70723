// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import NetfilterQueue
internal import PacketTagging
internal import Synchronization

// How all workers change to a policy: every one makes it ready before any puts it in force, so that
// a failure ends no context and drops no callout.
extension Bridge {
  /// Has each worker make `policy` ready, the first one first: its callouts may refuse.
  func prepare(_ policy: CompiledPolicy) throws(BridgeError) {
    learnConntrack(policy)
    announceToWatchers(policy)
    let news = CalloutNews(
      from: board.withLock { $0.policy?.policy } ?? FilterPolicy(), to: policy.policy)
    for (shard, worker) in board.withLock({ $0.workers }).enumerated() {
      let options = queueOptions(configuration.firstQueue + UInt16(shard), policy)
      let answer = worker.mailbox.ask { state -> BridgeError? in
        do throws(BridgeError) {
          try state.prepare(policy, options, news)
          return nil
        } catch {
          return error
        }
      }
      guard let answer else { throw .stuck(queue: options.number) }
      if let answer { throw answer }
    }
  }

  /// Puts what was made ready in force; a worker that does not answer does so before its next packet.
  func commit() {
    let number = board.withLock { board in
      board.policyNumber = board.nextPolicyNumber
      return board.policyNumber
    }
    let answers = board.withLock { $0.workers }.map { worker in
      worker.mailbox.send { [stream] state in
        state.flowUse.generation = number
        state.commit()
        // Read again: what was registered by a callout's factory, or before the worker was known.
        state.out.contexts.registeredNotifies = stream.registeredNotifies
        state.out.contexts.isWatched = stream.hasSubscribers
      }
    }
    for answer in answers { _ = answer?.wait(configuration.patience) }
  }

  /// Takes back what was made ready, wherever it was.
  func abandon() {
    for worker in board.withLock({ $0.workers }) { worker.mailbox.post { $0.abandon() } }
  }

  /// Asks the kernel once whether it can send conntrack values, if `policy` wants them.
  func learnConntrack(_ policy: CompiledPolicy) {
    guard queueOptions(configuration.firstQueue, policy).includesConntrack,
      !QueueSocket.canSendConntrack(queue: configuration.firstQueue)
    else { return }
    board.withLock { $0.refusesConntrack = true }
    warn("this kernel refuses NFQA_CFG_F_CONNTRACK: conntrack values are absent")
  }
}
