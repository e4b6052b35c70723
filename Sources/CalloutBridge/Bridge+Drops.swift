// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Synchronization

extension Bridge {
  /// Has workers tell of each packet and frame that filters and callouts block.
  ///
  /// What the kernel's own rules block for us is only counted, in `BridgeStatistics.kernelHits`.
  /// Mirrors `FwpmNetEventSubscribe0`.
  public func watchDrops() async throws(BridgeError) -> DropWatch {
    let session = DropSession(queues: configuration.queues)
    try await changes.run { [self] () async throws(BridgeError) in
      try board.withLock { board throws(BridgeError) in
        guard board.phase == .running, let policy = board.policy else {
          throw .wrongState("the bridge is not running")
        }
        session.learn(policy.policy, number: board.policyNumber)
        board.dropSessions.append(session)
      }
      for worker in board.withLock({ $0.workers }) {
        _ = worker.mailbox.ask { $0.dropTaps.append(session) }
      }
    }
    return DropWatch(session, self)
  }

  /// Ends a watch, unless it has ended; returns when no worker tells it of anything more.
  func endDropWatch(_ session: DropSession) async {
    await changes.run { [self] in
      board.withLock { $0.dropSessions.removeAll { $0 === session } }
      let answers = board.withLock { $0.workers }.map { worker in
        worker.mailbox.send { $0.dropTaps.removeAll { $0 === session } }
      }
      for answer in answers { _ = answer?.wait(configuration.patience) }
    }
  }

  /// Has those who watch know the filters of the policy that comes next.
  func announceToWatchers(_ policy: CompiledPolicy) {
    let (sessions, number) = board.withLock { ($0.dropSessions, $0.nextPolicyNumber) }
    for session in sessions { session.learn(policy.policy, number: number) }
  }
}
