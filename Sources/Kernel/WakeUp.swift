// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// Wakes a thread that waits in `Poller.wait`; any thread may signal it.
///
/// An eventfd.
public final class WakeUp: Sendable {
  private let descriptor: OwnedDescriptor

  /// Opens the eventfd.
  public init() throws(SystemError) {
    descriptor = try OwnedDescriptor(checking: clx_eventfd(), operation: "eventfd")
  }

  /// The descriptor to wait on.
  public var number: CInt { descriptor.number }

  /// Makes the descriptor readable.
  ///
  /// Never blocks.
  public func signal() {
    var one: UInt64 = 1
    _ = unsafe write(descriptor.number, &one, 8)
  }

  /// Makes the descriptor unreadable again.
  public func clear() {
    var count: UInt64 = 0
    _ = unsafe read(descriptor.number, &count, 8)
  }
}
