// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// How a worker reaches the others of its bridge.
final class WorkerPeers: Sendable {
  private let mailboxes = Mutex<[Mailbox]>([])

  /// Adds the next worker's mailbox.
  func append(_ mailbox: Mailbox) { mailboxes.withLock { $0.append(mailbox) } }

  /// Leaves a command with the worker of a shard; false if there is none any more.
  func post(to shard: Int, _ command: @escaping Mailbox.Command) -> Bool {
    let mailbox = mailboxes.withLock { $0.indices.contains(shard) ? $0[shard] : nil }
    return mailbox?.post(command) ?? false
  }
}
