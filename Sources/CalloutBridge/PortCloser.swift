// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import Synchronization

/// Closes ports that are done, away from the packet path: the kernel waits for all its processors
/// before it lets go of each socket and of the helper, some 100 ms in all.
final class PortCloser: Sendable {
  private let closing = Atomic<Int>(0)

  /// How many ports are being closed.
  var count: Int { closing.load(ordering: .acquiring) }

  /// Closes a port that diverts no more, soon.
  func close(_ port: LastReference<FramePort>) {
    closing.add(1, ordering: .relaxed)
    let close: @Sendable () -> Void = { [self] in
      port.release()
      closing.subtract(1, ordering: .releasing)
    }
    // Without a thread, here: then packets wait that long.
    if (try? DedicatedThread(name: "port-close", body: close)) == nil { close() }
  }
}
