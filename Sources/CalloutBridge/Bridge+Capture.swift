// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import NetfilterQueue
public import PacketTagging
internal import Synchronization

extension Bridge {
  /// Has tagged packets copied, `snap` bytes of each at most, of one tag if so asked.
  ///
  /// Subscribe to `events` first to learn what becomes of each. There can be one capture at a time.
  public func capture(snap: Int = .max, tag: ContextTag? = nil) async throws(BridgeError)
    -> PacketCapture
  {
    let session = CaptureSession(
      snap: min(max(snap, 1), Int(QueueOptions.wholePacket)), tag: tag,
      queues: configuration.queues)
    try await changes.run { [self] () async throws(BridgeError) in
      let policy = try board.withLock { board throws(BridgeError) in
        guard board.phase == .running, let policy = board.policy else {
          throw .wrongState("the bridge is not running")
        }
        guard board.capture == nil else {
          throw .wrongState("somebody captures already; there can be one capture at a time")
        }
        board.capture = session
        return policy
      }
      do throws(BridgeError) {
        for (shard, worker) in board.withLock({ $0.workers }).enumerated() {
          let options = queueOptions(configuration.firstQueue + UInt16(shard), policy)
          let answer = worker.mailbox.ask { state -> BridgeError? in
            do throws(BridgeError) {
              try state.beginCapture(session, options)
              return nil
            } catch {
              return error
            }
          }
          guard let answer else { throw .stuck(queue: options.number) }
          if let answer { throw answer }
        }
      } catch {
        putBack(session)
        throw error
      }
    }
    return PacketCapture(session, self)
  }

  /// Ends a capture, unless it has ended.
  func endCapture(_ session: CaptureSession) async {
    await changes.run { [self] in putBack(session) }
  }

  private func putBack(_ session: CaptureSession) {
    let policy = board.withLock { board -> CompiledPolicy? in
      guard board.capture === session else { return nil }
      board.capture = nil
      return board.policy
    }
    guard let policy else { return }
    let answers = board.withLock { $0.workers }.enumerated().map { shard, worker in
      let options = queueOptions(configuration.firstQueue + UInt16(shard), policy)
      return worker.mailbox.send { $0.endCapture(options) }
    }
    for answer in answers { _ = answer?.wait(configuration.patience) }
  }
}
