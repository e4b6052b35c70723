// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// Waits on a socket and a wake-up at once, without allocating.
public struct Poller: Sendable {
  private let first: CInt
  private let second: CInt

  /// A poller for the two descriptors, which must outlive it.
  public init(_ first: CInt, _ second: CInt) {
    self.first = first
    self.second = second
  }

  /// What made `wait` return.
  public struct Ready: Sendable {
    /// The first descriptor has something to read, or an error.
    public let first: Bool
    /// The second descriptor has something to read.
    public let second: Bool
  }

  /// Waits at most `milliseconds` (-1: for ever).
  ///
  /// A signal ends the wait early.
  public func wait(milliseconds: CInt) -> Ready {
    var descriptors: [2 of pollfd] = [
      pollfd(fd: first, events: Int16(POLLIN), revents: 0),
      pollfd(fd: second, events: Int16(POLLIN), revents: 0),
    ]
    var span = descriptors.mutableSpan
    let count = unsafe span.withUnsafeMutableBufferPointer { buffer in
      unsafe poll(buffer.baseAddress, nfds_t(buffer.count), milliseconds)
    }
    guard count > 0 else { return Ready(first: false, second: false) }
    return Ready(first: descriptors[0].revents != 0, second: descriptors[1].revents != 0)
  }
}
