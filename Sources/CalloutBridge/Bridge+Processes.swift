// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import SocketOwners
internal import Synchronization

extension Bridge {
  /// Has the processes of flows looked for, if `policy` is the first that asks for them.
  ///
  /// Before that policy is put in force, by workers that are made already.
  func startResolving(for policy: CompiledPolicy) throws(BridgeError) {
    guard policy.asksForProcesses, board.withLock({ $0.processResolver == nil }) else { return }
    do throws(SystemError) {
      let resolver = try ProcessResolver()
      board.withLock { $0.processResolver = resolver }
      let patience = configuration.pendDeadline.nanoseconds
      for worker in board.withLock({ $0.workers }) {
        worker.mailbox.post { state in
          state.flowUse.resolver = resolver
          state.flowUse.patience = patience
        }
      }
    } catch {
      throw .system(error)
    }
    if !ProcessTable.isAllToBeSeen {
      warn(
        "the programs of other users are not told (ale-app-id): that needs CAP_SYS_PTRACE and "
          + "CAP_DAC_READ_SEARCH; under systemd add both to the unit's capabilities")
    }
  }

  /// Takes back the looking; what waits for it is told by nobody any more.
  func stopResolving() {
    board.withLock { $0.processResolver.take() }?.end()
  }
}
