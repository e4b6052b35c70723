// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// Waits on several descriptors at once, without allocating.
public struct Poller: Sendable {
  private var descriptors: [pollfd]

  /// A poller for descriptors that must outlive it.
  public init(_ descriptors: CInt...) { self.init(descriptors) }

  /// A poller for descriptors that must outlive it.
  public init(_ descriptors: [CInt]) {
    self.descriptors = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
  }

  /// Whether the last `wait` found that the descriptor at `index` has something to read, or an error.
  public func isReady(_ index: Int) -> Bool {
    descriptors.indices.contains(index) && descriptors[index].revents != 0
  }

  /// Waits at most `milliseconds` (-1: for ever).
  ///
  /// A signal ends the wait early.
  public mutating func wait(milliseconds: CInt) {
    let count = unsafe descriptors.withUnsafeMutableBufferPointer { buffer in
      unsafe poll(buffer.baseAddress, nfds_t(buffer.count), milliseconds)
    }
    guard count <= 0 else { return }
    for index in descriptors.indices { descriptors[index].revents = 0 }
  }
}
